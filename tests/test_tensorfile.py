"""Tensor files: exact round trips, refusal of missing, truncated or edited files, and harmless failed writes."""

import errno
import json
import os
import pickle
import resource
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from weit_rl.common.errors import UserError
from weit_rl.storage.tensor_file import read_card, read_tensors, write_tensors

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
OTHERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
CARD = {"sizes": [[64, 2], [128, 3]], "note": "ünï", "score": 0.1, "none": None}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "bank.safetensors"
    write_tensors(path, {"a": torch.arange(12.0).reshape(3, 4), "b": torch.tensor(7)}, CARD)
    return path


def bits(tensor):
    return tensor.reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("dtype", FLOATS + OTHERS, ids=str)
def test_round_trip_keeps_every_bit(dtype, tmp_path):
    # any pattern of bits: with NaNs and their payloads, infinities, -0 and subnormals
    raw = torch.randint(0, 2 if dtype is torch.bool else 256, (24, 8), dtype=torch.uint8)
    tensors = {"full": raw.reshape(-1).view(dtype).reshape(2, 3, -1), "empty": torch.zeros(0, 3).to(dtype)}
    tensors["number"] = tensors["full"][0, 0, 0].clone()
    write_tensors(tmp_path / "x.safetensors", tensors, CARD)
    back, card = read_tensors(tmp_path / "x.safetensors")
    assert card == CARD == read_card(tmp_path / "x.safetensors")
    for name, tensor in tensors.items():
        assert back[name].dtype == dtype and back[name].shape == tensor.shape
        assert torch.equal(bits(back[name]), bits(tensor))


def test_strided_shared_and_trainable_tensors_are_written_as_they_look(tmp_path):
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    tensors = {"weight": weight, "tied": weight, "transposed": weight.T, "part": weight[:, 1:]}
    write_tensors(tmp_path / "x.safetensors", tensors, {})
    back, _ = read_tensors(tmp_path / "x.safetensors")
    assert list(back) == sorted(tensors) and all(torch.equal(back[name], tensors[name]) for name in tensors)
    back["tied"].add_(1)  # what was read is the reader's own, and no two share memory
    assert torch.equal(back["weight"], weight)


def test_no_tensors_at_all(tmp_path):
    write_tensors(tmp_path / "x.safetensors", {}, CARD)
    assert read_tensors(tmp_path / "x.safetensors") == ({}, CARD)


def refused(path, says):
    for read in (read_tensors, read_card) if says != "checksum" else (read_tensors,):
        with pytest.raises(UserError, match=says) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    refused(tmp_path / "none.safetensors", "No such file")
    refused(tmp_path, "cannot read")


def test_a_file_cut_anywhere_is_refused(file):
    whole = file.read_bytes()
    for length in [0, 1, 7, 8, 9, 40, len(whole) // 2, len(whole) - 1]:
        file.write_bytes(whole[:length])
        refused(file, "not a whole weit_rl tensor file")


def test_a_change_anywhere_is_refused(file):
    whole = file.read_bytes()
    for position in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[position] ^= 1
        file.write_bytes(changed)
        with pytest.raises(UserError):
            read_tensors(file)


def test_an_edited_card_is_refused(file):
    file.write_bytes(file.read_bytes().replace(b"[128, 3]", b"[160, 5]"))
    refused(file, "checksum")


def test_other_formats_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(3)}, path)  # safetensors, but no card of ours
    refused(path, "not a whole weit_rl tensor file")
    for content in (
        pickle.dumps({"a": 1}),
        b"PK\3\4" + bytes(100),
        b"\2" + bytes(7) + b"[]",
        json.dumps(CARD).encode(),
    ):
        path.write_bytes(content)
        refused(path, "not a whole weit_rl tensor file")


def untouched(path, before):
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"bank.safetensors: cannot write \(No space left on device\)"):
        write_tensors(file, {"a": torch.ones(9)}, {})
    untouched(file, before)


def test_a_write_that_ends_half_way_leaves_the_old_file(file):
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(UserError, match="cannot write"):
            write_tensors(file, {"a": torch.ones(5000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    untouched(file, before)


def test_a_folder_that_cannot_be_written_is_one_line(file, tmp_path):
    for path in (file / "x.safetensors", tmp_path / "no" / "folder.safetensors"):
        with pytest.raises(UserError, match="cannot write"):
            write_tensors(path, {}, {})


def test_killed_while_writing_leaves_the_old_file(file):
    before = file.read_bytes()
    program = f"""
import os, signal, torch
from weit_rl.storage.tensor_file import write_tensors
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
write_tensors({str(file)!r}, {{"a": torch.ones(9)}}, {{}})
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    assert file.read_bytes() == before
    assert read_tensors(file)[1] == CARD


def test_the_same_content_gives_the_same_bytes(tmp_path):
    tensors = {"b": torch.arange(3), "a": torch.ones(2, 2, dtype=torch.bfloat16)}
    files = set()
    for _ in range(8):  # safetensors itself orders its metadata anew each time
        write_tensors(tmp_path / "x", tensors, {"é": 1})
        files.add((tmp_path / "x").read_bytes())
    assert len(files) == 1
