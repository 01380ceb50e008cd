"""Data from strangers: they run nothing, reach nowhere and take no more memory or time than they may."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import write_hdf5
from little_memory import refuses

from weit_rl.agents.minari_writing import write_minari
from weit_rl.agents.recording import PlayedEpisode
from weit_rl.common.errors import UserError
from weit_rl.data import isolated_reading as isolated
from weit_rl.data import load_trajectories
from weit_rl.data.episode_files import read_episodes
from weit_rl.data.images import load_images
from weit_rl.envs.registry import env_entry
from weit_rl.options.option_table import options
from weit_rl.storage import read_limits as limits

TERA = 10**12


# --- sizes


def npz(path, name, header, data=b""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        text = str(header).encode()
        archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data)
    return path


def test_an_npz_that_claims_terabytes(tmp_path):
    header = {"descr": "<f4", "fortran_order": False, "shape": (TERA,)}
    path = npz(tmp_path / "x.npz", "rewards", header, bytes(64))
    refuses(read_episodes, path, says=r"rewards.npy declares more bytes than it holds")
    bomb = {"descr": "<f4", "fortran_order": False, "shape": (2**28,)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "FREE", 0)
        patch.setattr(limits, "RATIO", 10)
        npz(path, "rewards", bomb, bytes(2**22))
        refuses(read_episodes, path, says="it declares more bytes than such a file can hold")
    npz(path, "rewards", {"descr": "|O", "fortran_order": False, "shape": (1,)}, b"cos\nsystem\n(S'false'\ntR.")
    refuses(read_episodes, path, says="pickled objects are not loaded")


def d4rl(path, **changes):
    rng = np.random.default_rng(0)
    arrays = {"observations": rng.normal(size=(9, 17)), "actions": rng.uniform(-1, 1, (9, 6)), "rewards": np.ones(9),
              "terminals": np.zeros(9, bool), "timeouts": np.arange(9) == 8}  # fmt: skip
    write_hdf5(path, {name: array for name, array in arrays.items() if name not in changes})
    with h5py.File(path, "a") as file:
        for name, make in changes.items():
            make(file, name)
    return path


def claimed(file, name):
    file.create_dataset(name, (TERA, 17), "f4", chunks=(1000, 17), compression="gzip")


def outside(file, name):
    file.create_dataset(name, (9, 17), "u1", external=[("/etc/passwd", 0, 9 * 17)])


def linked(file, name):
    file[name] = h5py.ExternalLink("/tmp/other.hdf5", name)


def virtual(file, name):
    layout = h5py.VirtualLayout((9, 17), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.hdf5", name, (9, 17))
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    ("make", "says"),
    [(claimed, "it declares 68,000,000,000,"), (outside, "observations lies in another file"),
     (virtual, "observations lies in another file"), (linked, "observations lies in another file")],
)  # fmt: skip
def test_hdf5_that_claims_terabytes_or_leads_elsewhere(make, says, tmp_path):
    refuses(read_episodes, d4rl(tmp_path / "x.hdf5", observations=make), says=says)


# --- crashes, memory and time of a reader in C


@pytest.mark.parametrize(
    ("code", "says"),
    [("os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"), ("os._exit(3)", "failed in a separate process"),
     ("print('x')", "reading it failed"), ("print('[' * 100000)", "reading it failed"), ("print('{}')", "failed"),
     ("print('{\"info\": {}, \"arrays\": [[\"|O\", [3]]]}')", "no arrays of numbers"),
     ("print('{\"info\": {}, \"arrays\": [[\"<f8\", [1000000000000]], [\"<f8\", [1]], [\"<f8\", [1]]]}')", "more than"),
     ("print('{\"info\": {}, \"arrays\": [[\"<f8\", [9]], [\"<f8\", [1]], [\"<f8\", [1]]]}')", "ends early"),
     ("limits.limit_process(path); bytearray(2**40)", "MemoryError"),
     ("limits.SECONDS = 1; limits.PER_SECOND = 2**60; limits.limit_process(path); [None for _ in iter(int, 1)]",
      "ended by SIG(XCPU|KILL)")],
)  # fmt: skip
def test_a_reader_that_dies_or_lies_is_one_line(code, says, tmp_path, monkeypatch):
    start = f"""
import json, os, signal, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from weit_rl.storage import read_limits as limits
path = Path(sys.argv[3])
try:
    {code}
except Exception as error:
    print(json.dumps({{"error": type(error).__name__}}))
"""
    monkeypatch.setattr(isolated, "START", start)
    refuses(read_episodes, d4rl(tmp_path / "x.hdf5"), says=says)


def test_data_read_in_another_process_are_the_same(tiny_data, minari_folder, tmp_path):
    from weit_rl.data.formats import FORMATS

    frames, states = np.arange(3 * 8 * 8 * 3, dtype=np.uint8).reshape(3, 3, 8, 8), np.ones((3, 17), np.float32)
    seen = PlayedEpisode(0, frames, np.zeros((2, 6), np.float32), np.ones(2, np.float32), False, states)
    entry = replace(env_entry("HalfCheetah"), pixels=8)
    write_minari(tmp_path / "seen", entry, [seen], {"dataset_id": "weit_rl/halfcheetah/seen-v0"})
    for name, path in (("d4rl", tiny_data), ("minari", minari_folder[0]), ("minari", tmp_path / "seen")):
        (apart, info), (here, same) = isolated.read_isolated(name, path), FORMATS.get(name).read(path)
        assert json.loads(json.dumps(same, default=str)) == info
        assert len(apart) == len(here)
        for one, other in zip(apart, here, strict=True):
            for a, b in ((a, b) for a, b in zip(one, other, strict=True) if a is not None or b is not None):
                assert a.dtype == b.dtype and np.array_equal(a, b) and a.flags.writeable
    assert np.array_equal(apart[0].states, states[:2]) and apart[0].observations.shape == (2, 3, 8, 8)
    assert "torch" not in isolated.START


def test_shipped_data_are_read_in_this_process(monkeypatch):
    monkeypatch.setattr("weit_rl.data.episode_files.read_isolated", lambda *_: pytest.fail("in a process of its own"))
    assert load_trajectories("random", env_entry("HalfCheetah")).episodes


# --- images and agents


def test_only_pictures_are_pictures(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(made) (w) file closefile showpage\n"
        (tmp_path / name / "x.png").write_bytes(eps)
    refuses(load_images, tmp_path, says=r"x.png: cannot be read")


def test_agents_of_stable_baselines3_say_that_they_are_pickles_and_what_is_not():
    from weit_rl.data.formats.sb3_zip import read

    with pytest.raises(UserError, match=r"record some: .* mode=record .* allow_pickle=true"):
        read(Path("agent.zip"))
    assert "whose pickles can run any code; only files you trust" in options("collect")["allow_pickle"].help


def test_an_error_is_one_line_that_moves_no_cursor(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../a\n\x1b[2Jb.png", b"")
    assert "'../a\\n" in refuses(load_images, tmp_path / "x.zip", says="leads out of the archive")
    assert str(UserError("a\nb\r\x1b[31mc\u202ed\u00fc")) == "a b  [31mc dü"


def test_an_archive_with_a_member_without_a_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"")
    refuses(load_images, tmp_path / "x.zip", says="holds no images")
