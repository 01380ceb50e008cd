"""Networks and banks from strangers: they take no more memory than they may, whatever they say of themselves."""

import json
import shutil

import pytest
import torch
from little_memory import little_memory, refuses

from weit_rl.core.bank import TemplateBank
from weit_rl.storage.tensor_file import read_tensors, write_tensors
from weit_rl.training.checkpoint import load_network

TERA = 10**12


def with_header(path, tensors):
    """Write a tensor file with any header."""
    header = json.dumps({**tensors, "__metadata__": {"card": "{}", "sha256": ""}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    return path


def test_a_tensor_file_that_claims_terabytes(tmp_path):
    path = with_header(tmp_path / "x", {"a": {"dtype": "F32", "shape": [TERA], "data_offsets": [0, 4 * TERA]}})
    refuses(read_tensors, path, says="not a whole")
    (tmp_path / "x").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    refuses(read_tensors, path, says="not a whole")
    deep = b'{"__metadata__":{"sha256":"","card":"' + b"[" * 100_000 + b'"}}'
    (tmp_path / "x").write_bytes(len(deep).to_bytes(8, "little") + deep)
    refuses(read_tensors, path, says="not a whole")


@pytest.mark.parametrize(
    "changes",
    [{"size": [2**20, 4000, 32]}, {"size": [32, 2**40, 32]}, {"options": {"observation_dim": TERA, "action_dim": 6}},
     {"size": "64x2"}, {"size": None}, {"model": ["dt"]}, {"options": []}, {"options": {"rm": "-rf"}}, {"model": "x"},
     {"size": [64, 2, 0]}],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_whose_card_describes_another_network(changes, tiny_run, tmp_path):
    tensors, card = read_tensors(tiny_run / "checkpoints" / "last.safetensors")
    write_tensors(tmp_path / "x", tensors, card | changes)
    refuses(load_network, tmp_path / "x", says="its card describes another network than its tensors")


@pytest.mark.parametrize(
    "changes",
    [{"size": [2**20, 40, 32]}, {"size": [-64, 2, 32]}, {"size": [2**40, 1, 1]}, {"constraint": "x"},
     {"constraint": {}}, {"sizes_sampled": [1]}, {"sizes_sampled": ["abc"]},
     {"tiles": [1]}, {"config": "x"}, {"names": [{}]}],
    ids=str,
)  # fmt: skip
def test_a_bank_whose_card_asks_for_more(changes, refused, words, tiny_bank, tmp_path):
    tensors, card = read_tensors(tiny_bank)
    write_tensors(tmp_path / "x.safetensors", tensors, card | changes)
    with little_memory():
        refused("train", *words["train"], f"bank={tmp_path / 'x.safetensors'}")


def test_the_second_file_of_a_bank_is_checked(tiny_bank, tmp_path):
    bank = tmp_path / "bank.safetensors"
    shutil.copy(tiny_bank, bank)
    bank.with_suffix(".json").write_text("[" * 100_000)
    refuses(TemplateBank.load, bank, says="bank.json: was edited")
    assert torch.is_tensor(TemplateBank.load(tiny_bank).templates["qkv"])


def test_a_size_that_no_machine_holds(refused, words):
    says = "this machine has"
    with little_memory():
        assert says in refused("train", *words["train"], "size.width=1048576", "size.depth=40", "init=scratch")
        assert "must be 4096 at most" in refused("train", *words["train"], "size.depth=5000")
        assert "must be 1048576 at most" in refused("train", *words["train"], f"size.width={2**62}")
