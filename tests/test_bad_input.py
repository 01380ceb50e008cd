"""Bad input to the real commands: one line on stderr, exit code 2, no traceback, nothing written or overwritten."""

import errno
import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple

import h5py
import numpy as np
import pytest
import torch
from conftest import TINY_PRETRAIN, TINY_TRAIN, write_hdf5

from weit_rl.bank import TemplateBank
from weit_rl.command import command, compose
from weit_rl.errors import Interrupted
from weit_rl.models import MODELS
from weit_rl.training.run_folder import RunFolder


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Run a command that must refuse; returns the line it printed."""
    handler = signal.getsignal(signal.SIGTERM)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(verb, *words, folder=tmp_path):
        before, _ = contents(folder), capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            command(verb, importlib.import_module(f"weit_rl.{verb}").main, words)
        err = capfd.readouterr().err
        assert stop.value.code == 2 and err.startswith(f"weit_rl {verb}: error: ") and err.count("\n") == 1, err
        assert contents(folder) == before, "something was written"
        return err

    yield run
    signal.signal(signal.SIGTERM, handler)


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def words(tiny_data, tiny_bank, tmp_path):
    """Good words for each verb, to which a bad one is added."""
    data, run = f"data={tiny_data}", f"run_dir={tmp_path / 'run'}"
    return {"train": [*TINY_TRAIN, data, f"bank={tiny_bank}", run], "pretrain": [*TINY_PRETRAIN, data, run]}


TRAIN = [
    ("env=HalfCheeta", "did you mean HalfCheetah? (possible: "),
    ("size=smal", "did you mean small? (possible: tiny, small"),
    ("size=100x3", "size.width=100: must be a positive multiple of head_dim 32, such as 96 or 128"),
    ("size.width=100", "multiple of head_dim 32"),
    ("size.width=0", "size.width=0"),
    ("size.depth=0", "size.depth=0: must be 1 or more"),
    ("size.widht=64", "did you mean size.width?"),
    ("init=scrach", "did you mean scratch? (possible: scratch, weit)"),
    ("rtg=latst", "did you mean latest? (possible: latest, every)"),
    ("scaler_steps=-1", "scaler_steps=-1: must be 0 or more"),
    ("train_steps=-1", "train_steps=-1: must be 0 or more"),
    ("train_steps=many", "must be an integer"),
    ("batch_size=0", "batch_size=0: must be 1 or more"),
    ("context=0", "context=0: must be 1 or more"),
    ("episodes=0", "episodes=0: must be from 1 to 1000"),
    ("validation_episodes=-1", "must be from 0 to 1000"),
    ("evaluate_every=0", "must be 1 or more"),
    ("seed=-1", "seed=-1: must be from 0 to 999"),
    ("seed=1000", "seed=1000: must be from 0 to 999"),
    ("scaler_lr=-1e-3", "scaler_lr=-0.001: must be more than 0"),
    ("train_lr=0", "train_lr=0.0: must be more than 0"),
    ("weight_decay=-1", "weight_decay=-1.0: must be 0 or more"),
    ("warmup=1.5", "warmup=1.5: must be from 0 to 1"),
    ("grad_clip=0", "grad_clip=0.0: must be more than 0"),
    ("threads=0", "threads=0: must be 1 or more"),
    ("device=gpu", "device=gpu: not on this machine; use device=cpu"),
    ("device=meta", "device=meta: not on this machine"),
    ("data=expertt", "data='expertt': neither a file"),
    ("data=/", "not a complete Minari data set"),
    ("bank=nowhere.safetensors", "nowhere.safetensors: cannot read"),
    ("rtg=every", "the bank's network has no embed_return"),
    ("resume=nowhere", "nowhere: is no run folder"),
]


@pytest.mark.parametrize(("word", "says"), TRAIN, ids=[word for word, _ in TRAIN])
def test_train(refused, words, word, says):
    assert says in refused("train", *words["train"], word)


PRETRAIN = [
    ("env=Hoper", "did you mean Hopper?"),
    ("size=bas", "did you mean base?"),
    ("size=96x0", "size.depth=0"),
    ("widths=[128]", "128x1 is larger than the full network 64x2"),
    ("widths=[48]", "multiple of head_dim"),
    ("depths=[3]", "32x3 is larger than"),
    ("widths=[]", "at least one"),
    ("score_sizes=[64x2, smal]", "did you mean small?"),
    ("constraint=kroneker", "did you mean kronecker? (possible: "),
    ("rtg=evry", "did you mean every?"),
    ("rank=0", "rank=0: must be 1 or more"),
    ("tile=0", "tile=0: must be 1 or more"),
    ("steps=0", "steps=0: must be 1 or more"),
    ("lr=-1", "lr=-1.0: must be more than 0"),
    ("masks=maybe", "must be true or false"),
    ("resume=nowhere", "nowhere: is no run folder"),
]


@pytest.mark.parametrize(("word", "says"), PRETRAIN, ids=[word for word, _ in PRETRAIN])
def test_pretrain(refused, words, word, says):
    assert says in refused("pretrain", *words["pretrain"], word)


@pytest.mark.parametrize(
    ("word", "says"),
    [("env=HalfChetah", "did you mean HalfCheetah?"), ("algorithm=SAK", "choose one of SAC, TQC"), ("steps=0", "steps=0"),
     ("levels.expert=-1", "levels.expert=-1"), ("hyperparameters={gama: 1}", "gama")],
)  # fmt: skip
def test_collect(refused, word, says):
    assert says in refused("collect", word)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the others lack")
@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_a_gpu_that_is_not_there(refused, words, verb):
    assert "device=cuda: not on this machine; use device=cpu or device=auto" in refused(
        verb, *words[verb], "device=cuda"
    )


def test_a_level_that_does_not_ship(refused, words):
    err = refused("train", *words["train"], "env=Hopper", "data=expert")
    assert "data='expert'" in err and "a level that ships for Hopper (none does)" in err


def test_no_bank_ships_for_that_environment(refused, words):
    assert "no bank ships for env=Walker2d" in refused("train", *words["train"], "env=Walker2d", "bank=null")


# --- files: banks, data


def rewritten(tiny_bank, path, change):
    bank = TemplateBank.load(tiny_bank)
    change(bank)
    return bank.save(path)


def without_fc2(bank):
    del bank.templates["fc2"]


def other_tiles(bank):
    bank.templates["qkv"] = torch.nn.Parameter(torch.zeros(4, 16, 16))


def other_slots(bank):
    bank.source = {name.replace("fc1", "up"): tensor for name, tensor in bank.source.items()}


def other_observations(bank):
    bank.source["own.embed_observation.weight"] = torch.zeros(1, 1, 64, 11)


@pytest.mark.parametrize(
    ("change", "says"),
    [(without_fc2, "the bank has no role 'fc2' that the model needs (it has fc1, out, qkv)"),
     (other_tiles, "role 'qkv': the bank's tiles are 16x16, the plan asks for 32x32"),
     (other_slots, "the bank's network has no blocks.*.fc1.weight, which the model needs"),
     (other_observations, "the bank's embed_observation.weight is 1x1x64x11, not 1x1x64x17")],
)  # fmt: skip
def test_a_bank_that_does_not_fit(refused, words, tiny_bank, tmp_path, change, says):
    bank = rewritten(tiny_bank, tmp_path / "bank.safetensors", change)
    assert says in refused("train", *words["train"], f"bank={bank}")


def test_a_bank_without_a_network(refused, words, tmp_path):
    bank = TemplateBank.from_plan(MODELS.get("dt").plan(32)).save(tmp_path / "fresh.safetensors")
    assert "no pre-trained network; make one with weit_rl.pretrain" in refused("train", *words["train"], f"bank={bank}")


def test_a_damaged_edited_or_foreign_bank(refused, words, tiny_bank, tiny_run, tmp_path):
    data, bad = tiny_bank.read_bytes(), tmp_path / "bad.safetensors"
    edited = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    for damage, says in (
        (data[:-100], "cut short"),
        (data[:50], "cut short"),
        (b"", "cut short"),
        (edited, "checksum"),
    ):
        bad.write_bytes(damage)
        assert says in refused("train", *words["train"], f"bank={bad}")
    bad.write_bytes(data)
    bad.with_suffix(".json").write_text(tiny_bank.with_suffix(".json").read_text().replace("Apache", "My"))
    assert "bad.json: was edited" in refused("train", *words["train"], f"bank={bad}")
    other = tiny_run / "checkpoints" / "last.safetensors"
    assert "last.safetensors: not a template bank" in refused("train", *words["train"], f"bank={other}")
    assert "cannot read" in refused("train", *words["train"], f"bank={tmp_path}")


def test_the_bank_of_another_environment(refused, words, tmp_path):
    arrays = {"observations": np.zeros((9, 11)), "actions": np.zeros((9, 3)), "rewards": np.ones(9)}
    write_hdf5(tmp_path / "hopper.hdf5", arrays | {"terminals": np.arange(9) == 8, "timeouts": np.zeros(9, bool)})
    err = refused("train", *words["train"], "env=Hopper", f"data={tmp_path / 'hopper.hdf5'}")
    assert "17, not 1x1x64x11; use a bank made for this environment" in err


def with_nan(arrays):
    arrays["actions"][7, 2] = np.nan


def short_rewards(arrays):
    arrays["rewards"] = arrays["rewards"][:-1]


def flat_actions(arrays):
    arrays["actions"] = arrays["actions"].ravel()


def no_window(arrays):
    arrays["terminals"][:] = True


def other_actions(arrays):
    arrays["actions"] = arrays["actions"][:, :3]


def no_rewards(arrays):
    del arrays["rewards"]


@pytest.mark.parametrize(
    ("change", "says"),
    [(with_nan, "actions hold NaN or infinite values (first at step 7)"), (short_rewards, "lengths differ"),
     (flat_actions, "must be numbers of shape (steps, size)"), (no_window, "no complete window"),
     (other_actions, "action size 3, but HalfCheetah has 6"), (no_rewards, "no array rewards")],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_data_that_cannot_be_trained_on(refused, words, tiny_data, tmp_path, verb, change, says):
    with h5py.File(tiny_data) as file:
        arrays = {name: array[()] for name, array in file.items()}
    change(arrays)
    write_hdf5(tmp_path / "bad.hdf5", arrays)
    assert says in refused(verb, *words[verb], f"data={tmp_path / 'bad.hdf5'}")


# --- folders and disks


@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_an_existing_folder_is_left_alone(refused, words, verb, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    assert "exists already; choose another run_dir" in refused(verb, *words[verb])
    assert "exists already" in refused(verb, *words[verb], f"run_dir={tmp_path / 'run' / 'thesis.tex'}")


@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_no_disk_space(refused, words, verb, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    assert "MB of disk space and 0 MB are free" in refused(verb, *words[verb])


def test_the_disk_is_full_when_the_evaluation_is_written(refused, tiny_run, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    err = refused("evaluate", f"run={tiny_run}", "episodes=1", folder=tiny_run)
    assert "evaluation-best-1.json: cannot write (No space left on device)" in err


# --- finished and stopped runs


@pytest.mark.parametrize(
    ("word", "says"),
    [("run=nowhere", "nowhere: is no run folder"), ("run=.", ".: is no run folder"), ("episodes=0", "from 1 to 1000"),
     ("seed=1000", "from 0 to 999"), ("device=gpu", "not on this machine"), ("video=maybe", "must be true or false"),
     ("checkpoint=bset", "has none of that name (it has best, last, start)"), ("bets=1", "unknown option 'bets'"),
     ("checkpoint=train_state", "not a network checkpoint")],
)  # fmt: skip
def test_evaluate(refused, tiny_run, word, says):
    assert says in refused("evaluate", f"run={tiny_run}", word, folder=tiny_run)


def test_evaluate_needs_a_run(refused):
    assert "run: must be given" in refused("evaluate")


@pytest.fixture
def copied_run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "copy")


def test_a_run_with_damaged_or_missing_files(refused, copied_run):
    best = copied_run / "checkpoints" / "best.safetensors"
    whole = best.read_bytes()
    best.write_bytes(whole[:-10])
    assert "best.safetensors: not a whole weit_rl tensor file" in refused("evaluate", f"run={copied_run}")
    best.write_bytes(whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:])
    assert "best.safetensors: was changed after it was written" in refused("evaluate", f"run={copied_run}")
    best.unlink()
    assert "checkpoint=best: " in refused("evaluate", f"run={copied_run}")
    (copied_run / "config.yaml").write_text("env: [")
    assert "config.yaml or metrics.csv was damaged" in refused("evaluate", f"run={copied_run}")
    (copied_run / "config.yaml").unlink()
    assert "is no run folder (it has no config.yaml)" in refused("evaluate", f"run={copied_run}")


def test_a_finished_run_is_not_resumed(refused, tiny_run, tiny_bank):
    assert "that run is finished" in refused("train", f"resume={tiny_run}", folder=tiny_run)
    assert "that bank is finished" in refused("pretrain", f"resume={tiny_bank.parent}", folder=tiny_bank.parent)


def test_a_run_is_resumed_by_its_own_command_and_options(refused, tiny_run, tiny_bank):
    assert "was not made by weit_rl.train" in refused("train", f"resume={tiny_bank.parent}")
    assert "was not made by weit_rl.pretrain" in refused("pretrain", f"resume={tiny_run}")
    err = refused("train", f"resume={tiny_run}", "train_steps=500", "size=base", "seed=0")
    assert "goes on with its own options; leave out size, train_steps" in err


@pytest.fixture
def stopped_run(words, monkeypatch, tmp_path):
    """A run stopped in its second stage."""
    log = RunFolder.log

    def log_and_stop(run, step, values):
        log(run, step, values)
        if "train/loss" in values:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(RunFolder, "log", log_and_stop)
        importlib.import_module("weit_rl.train").main(compose("train", [*words["train"], "validation_episodes=0"]))
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["train_state", "start", "scaler_state"])
def test_a_stopped_run_with_a_damaged_checkpoint(refused, stopped_run, name):
    file = stopped_run / "checkpoints" / f"{name}.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with (stopped_run / "metrics.csv").open("a") as metrics:
        metrics.write("99,train/loss,1.0\n")  # a resumed run drops it, but this one must not be touched
    assert f"{name}.safetensors: not a whole" in refused("train", f"resume={stopped_run}")


def test_a_real_process_prints_one_line_too(words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "weit_rl.train", *words["train"], "size.width=100"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    line = "size.width=100: must be a positive multiple of head_dim 32, such as 96 or 128"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"weit_rl train: error: {line}\n")
    assert not list(tmp_path.iterdir())
