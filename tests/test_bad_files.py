"""Files that are missing, damaged, edited or made for something else: one line, exit code 2, nothing touched."""

import importlib
import os
import shutil
import signal

import h5py
import numpy as np
import pytest
import torch
from conftest import write_hdf5

from weit_rl.common.errors import Interrupted
from weit_rl.core.bank import TemplateBank
from weit_rl.core.parameter_map import Parameters
from weit_rl.models import MODELS
from weit_rl.options.command import compose
from weit_rl.training.run_folder import RunFolder


def rewritten(tiny_bank, path, change):
    bank = TemplateBank.load(tiny_bank)
    change(bank)
    return bank.save(path)


def without_fc2(bank):
    bank.templates = Parameters({role: t for role, t in bank.templates.items() if role != "fc2"})


def other_tiles(bank):
    bank.templates = Parameters({**bank.templates, "qkv": torch.zeros(4, 32, 32)})


def other_slots(bank):
    bank.source = {name.replace("fc1", "up"): tensor for name, tensor in bank.source.items()}


def other_observations(bank):
    bank.source["own.embed_observation.weight"] = torch.zeros(1, 1, 64, 11)


@pytest.mark.parametrize(
    ("change", "says"),
    [(without_fc2, "the bank has no role 'fc2' that the model needs (it has fc1, out, qkv)"),
     (other_tiles, "the bank's blocks.*.qkv.weight is 2x3x4x4x4, not 2x3x4x2x2"),
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


@pytest.fixture
def stopped_run(words, monkeypatch, tmp_path):
    """Stop a run in its second stage."""
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
