"""Files from strangers: they run nothing, reach nowhere and take no more memory or time than they may."""

import json
import os
import resource
import shutil
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from conftest import write_hdf5

from weit_rl import limits
from weit_rl.agents.recording import Episode, write_minari
from weit_rl.bank import TemplateBank
from weit_rl.command import compose
from weit_rl.data import isolated, load_trajectories
from weit_rl.data.formats import read_episodes
from weit_rl.data.images import load_images
from weit_rl.envs.entry import env_entry
from weit_rl.errors import UserError
from weit_rl.tensorfile import read_tensors, write_tensors
from weit_rl.training.checkpoint import load_network
from weit_rl.training.run_folder import RunFolder

TERA = 10**12


@contextmanager
def little_memory(free=2**30):
    """No more than so many bytes can be taken inside."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refuses(read, *words, says=""):
    """The one line with which a file is refused, in little memory."""
    with little_memory(), pytest.raises(UserError, match=says) as error:
        read(*words)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- sizes


def with_header(path, tensors):
    """A tensor file that says of itself what one likes."""
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
def test_a_checkpoint_whose_card_tells_of_another_network(changes, tiny_run, tmp_path):
    tensors, card = read_tensors(tiny_run / "checkpoints" / "last.safetensors")
    write_tensors(tmp_path / "x", tensors, card | changes)
    refuses(load_network, tmp_path / "x", says="its card tells of another network than its tensors")


@pytest.mark.parametrize(
    "changes",
    [{"size": [2**20, 40, 32]}, {"size": [-64, 2, 32]}, {"size": [2**40, 1, 1]}, {"constraint": "x"},
     {"constraint": {}}, {"sizes_sampled": [1]}, {"config": "x"}, {"names": [{}]}],
    ids=str,
)  # fmt: skip
def test_a_bank_whose_card_asks_for_more(changes, refused, words, tiny_bank, tmp_path):
    tensors, card = read_tensors(tiny_bank)
    write_tensors(tmp_path / "x.safetensors", tensors, card | changes)
    with little_memory():
        refused("train", *words["train"], f"bank={tmp_path / 'x.safetensors'}")


def test_a_size_that_no_machine_holds(refused, words):
    says = "this machine has"
    with little_memory():
        assert says in refused("train", *words["train"], "size.width=1048576", "size.depth=40", "init=scratch")
        assert "must be 4096 at most" in refused("train", *words["train"], "size.depth=5000")
        assert "must be 1048576 at most" in refused("train", *words["train"], f"size.width={2**62}")


def npz(path, name, header, data=b""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        text = str(header).encode()
        archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data)
    return path


def test_an_npz_that_claims_terabytes(tmp_path):
    header = {"descr": "<f4", "fortran_order": False, "shape": (TERA,)}
    path = npz(tmp_path / "x.npz", "rewards", header, bytes(64))
    refuses(read_episodes, path, says=r"rewards.npy says that it holds more than it does")
    bomb = {"descr": "<f4", "fortran_order": False, "shape": (2**28,)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "FREE", 0)
        patch.setattr(limits, "RATIO", 10)
        npz(path, "rewards", bomb, bytes(2**22))
        refuses(read_episodes, path, says="it says that it holds more than such a file can")
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
    [(claimed, "it says that it holds 68,000,000,000,"), (outside, "observations lies in another file"),
     (virtual, "observations lies in another file"), (linked, "observations lies in another file")],
)  # fmt: skip
def test_hdf5_that_claims_terabytes_or_leads_elsewhere(make, says, tmp_path):
    refuses(read_episodes, d4rl(tmp_path / "x.hdf5", observations=make), says=says)


# --- crashes, memory and time of a reader in C


@pytest.mark.parametrize(
    ("code", "says"),
    [("os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"), ("os._exit(3)", "reading it failed in the process"),
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
from weit_rl import limits
path = Path(sys.argv[3])
try:
    {code}
except Exception as error:
    print(json.dumps({{"error": type(error).__name__}}))
"""
    monkeypatch.setattr(isolated, "START", start)
    refuses(read_episodes, d4rl(tmp_path / "x.hdf5"), says=says)


def test_what_is_read_apart_is_what_is_read_here(tiny_data, minari_folder, tmp_path):
    from weit_rl.data.formats import load_formats

    frames, states = np.arange(3 * 8 * 8 * 3, dtype=np.uint8).reshape(3, 3, 8, 8), np.ones((3, 17), np.float32)
    seen = Episode(0, frames, np.zeros((2, 6), np.float32), np.ones(2, np.float32), False, states)
    entry = replace(env_entry("HalfCheetah"), pixels=8)
    write_minari(tmp_path / "seen", entry, [seen], {"dataset_id": "weit_rl/halfcheetah/seen-v0"})
    for name, path in (("d4rl", tiny_data), ("minari", minari_folder[0]), ("minari", tmp_path / "seen")):
        (apart, info), (here, same) = isolated.read_isolated(name, path), load_formats().get(name).read(path)
        assert json.loads(json.dumps(same, default=str)) == info
        assert len(apart) == len(here)
        for one, other in zip(apart, here, strict=True):
            for a, b in ((a, b) for a, b in zip(one, other, strict=True) if a is not None or b is not None):
                assert a.dtype == b.dtype and np.array_equal(a, b) and a.flags.writeable
    assert np.array_equal(apart[0].states, states[:2]) and apart[0].observations.shape == (2, 3, 8, 8)
    assert "torch" not in isolated.START


# --- configs and the modules that environments name


def test_no_option_makes_anything(refused, words, tmp_path):
    bomb = f"{{_target_: os.mkdir, path: {tmp_path / 'made'}}}"
    config = compose("train", [f"init_options={bomb}"])
    assert config.init_options == {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    assert "unknown option of init=weit '_target_'" in refused("train", *words["train"], f"init_options={bomb}")
    assert "unknown option '_target_'" in refused("train", *words["train"], "_target_=os.mkdir")
    assert not (tmp_path / "made").exists()
    assert compose("train", ["data=${oc.env:HOME}"]).data == "${oc.env:HOME}"


@pytest.fixture
def edited(tiny_run, tmp_path):
    """A copy of a run, unfinished, whose config.yaml is edited."""

    def edit(**changes):
        run = shutil.copytree(tiny_run, tmp_path / "run")
        (run / "evaluation.json").unlink()
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump(config | changes))
        return run

    return edit


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"_target_": "os.mkdir"}, "was not made by"), ({"batch_size": "x"}, "batch_size=x: must be an integer"),
     ({"batch_size": None}, "must be an integer"), ({"size": [1]}, "size.name: must be in a group"),
     ({"size": {"name": "small", "depth": None}}, "size.width: is missing"),
     ({"init_options": "x"}, "must be a mapping"), ({"lr": 1}, "was not made by"), ({"env": {"a": 1}}, "a text"),
     ({"train_steps": True}, "must be an integer"), ({"warmup": float("nan")}, "must be a number"),
     ({"env": "gym:antigravity:X-v0"}, r"imports a module; if you trust it, say so with env=gym:antigravity:X-v0"),
     ({"init_options": {"_target_": "os.mkdir"}}, "unknown option of init=weit '_target_'")],
)  # fmt: skip
def test_a_strangers_config(changes, says, refused, edited):
    run = edited(**changes)
    assert says in refused("train", f"resume={run}", folder=run)
    assert "antigravity" not in sys.modules


NO_CONFIGS = ["&a [*a]", "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", "[" * 2000, "a: !!python/name:os.system", "1", "- a",
              "? [a]\n: b", "a: " + "x" * 2_000_000]  # fmt: skip


@pytest.mark.parametrize("text", NO_CONFIGS, ids=lambda text: text[:20])
def test_a_config_that_is_no_config(text, tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "config.yaml").write_text(text)
    refuses(RunFolder.open, run, says="its config.yaml or metrics.csv was damaged")


def test_a_checkpoint_names_a_module_only_with_the_users_word(tiny_run, tmp_path, refused, monkeypatch):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    name = "gym:a_strangers_module:HalfCheetah-v5"
    for path in (run / "checkpoints").glob("*.safetensors"):
        tensors, card = read_tensors(path)
        write_tensors(path, tensors, card | {"env": name})
    says = f"its environment imports a module; if you trust it, say so with env={name}"
    assert says in refused("evaluate", f"run={run}", "episodes=1", folder=run)
    assert says in refused("evaluate", f"run={run}", "episodes=1", "env=gym:other:HalfCheetah-v5", folder=run)
    (tmp_path / "a_strangers_module.py").write_text("LOADED = True")
    monkeypatch.syspath_prepend(tmp_path)
    from weit_rl.envs.entry import entry_of_file

    assert "a_strangers_module" not in sys.modules
    assert entry_of_file(name, "x", name).gym_id == "HalfCheetah-v5" and "a_strangers_module" in sys.modules


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
    help_ = (Path(__file__).parents[1] / "configs" / "collect.yaml").read_text()
    assert "whose pickles can run any code; only files you trust" in help_


def test_an_error_is_one_line_that_moves_no_cursor(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../a\n\x1b[2Jb.png", b"")
    assert "'../a\\n" in refuses(load_images, tmp_path / "x.zip", says="leads out of the archive")
    assert str(UserError("a\nb\r\x1b[31mc\u202ed\u00fc")) == "a b  [31mc dü"


def test_an_archive_with_a_member_without_a_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"")
    refuses(load_images, tmp_path / "x.zip", says="holds no images")


def test_data_that_ship_are_read_here(monkeypatch):
    monkeypatch.setattr("weit_rl.data.formats.read_isolated", lambda *_: pytest.fail("in a process of its own"))
    assert load_trajectories("random", env_entry("HalfCheetah")).episodes


def test_a_banks_other_file_is_not_read_blindly(tiny_bank, tmp_path):
    bank = tmp_path / "bank.safetensors"
    shutil.copy(tiny_bank, bank)
    bank.with_suffix(".json").write_text("[" * 100_000)
    refuses(TemplateBank.load, bank, says="bank.json: was edited")
    assert torch.is_tensor(TemplateBank.load(tiny_bank).templates["qkv"])
