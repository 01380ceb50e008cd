"""Faults of disks, clocks and losses in training: one clear line, nothing written is lost, and work goes on."""

import errno
import os
import signal
import time

import numpy as np
import pytest
import torch
from conftest import contents

from weit_rl.common.errors import CannotWrite, Interrupted, UserError
from weit_rl.options.command import command, compose
from weit_rl.storage import atomic_write as atomic
from weit_rl.storage.tensor_file import read_card, read_tensors
from weit_rl.tasks.control import Control
from weit_rl.train import main as train
from weit_rl.training.loop import OptimizerRecipe
from weit_rl.training.run_folder import RunFolder

WORDS = ["model=mlp", "init=scratch", "size=32x1", "batch_size=4", "context=1", "threads=1", "device=cpu", "episodes=1",
         "train_steps=30", "validation_episodes=0"]  # fmt: skip


def start(tiny_data, run, *more):
    return train(compose("train", [*WORDS, f"data={tiny_data}", f"run_dir={run}", *more]))


@pytest.fixture(scope="module")
def whole(tiny_data, tmp_path_factory):
    run = tmp_path_factory.mktemp("faults") / "whole"
    start(tiny_data, run)
    return run


def is_as(run, whole):
    """Return True if two runs ended alike, but for the clock."""
    rows = [[row for row in (one / "metrics.csv").read_text().split() if "time/" not in row] for one in (run, whole)]
    last = [(one / "checkpoints" / "last.safetensors").read_bytes() for one in (run, whole)]
    return rows[0] == rows[1] and last[0] == last[1]


# --- disks


def failing(number, code):
    """Make an ``os.fsync`` that fails from its call of that number on."""
    real, calls = os.fsync, iter(range(10**6))

    def fsync(descriptor):
        if next(calls) >= number:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    return fsync


@pytest.mark.parametrize(("number", "code"), [(4, errno.ENOSPC), (6, errno.EROFS), (9, errno.EDQUOT)])
def test_a_full_disk_is_one_line_and_loses_nothing(number, code, whole, tiny_data, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(number, code))
        with pytest.raises(CannotWrite, match=rf"cannot write \({os.strerror(code)}\).*, then go on with: ") as error:
            start(tiny_data, run)
    assert "\n" not in str(error.value)
    before = contents(run / "checkpoints")
    assert not any(atomic.is_unfinished(path) for path in before)
    train(compose("train", [f"resume={run}"]))
    assert is_as(run, whole)


def test_a_disk_that_is_full_when_metrics_are_written(whole, tiny_data, tmp_path, monkeypatch):
    run = tmp_path / "run"

    def full(path, mode="r", **words):
        if "a" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open(path, mode, **words)

    with monkeypatch.context() as patch:
        patch.setattr("weit_rl.training.metrics.open", full, raising=False)
        with pytest.raises(CannotWrite, match=r"metrics.csv: cannot write"):
            start(tiny_data, run)
    train(compose("train", [f"resume={run}"]))
    assert is_as(run, whole)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_errors_of_the_disk_are_one_line(code, capsys):
    def main(cfg):
        raise OSError(code, os.strerror(code), "/data/x")

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        command("train", main, [])
    signal.signal(signal.SIGTERM, handler)
    err = capsys.readouterr().err
    assert stop.value.code == 2 and err.startswith("weit_rl train: error: /data/x: ") and err.count("\n") == 1


# --- clocks, losses


def test_a_clock_that_jumps_changes_nothing(whole, tiny_data, tmp_path, monkeypatch):
    run, log, real, jumps = tmp_path / "run", RunFolder.log, time.time, iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: real() + (-1) ** next(jumps) * 4e8)  # 13 years to and fro

    def log_and_stop(self, step, values):
        log(self, step, values)
        if step == 20:
            monkeypatch.setattr(RunFolder, "log", log)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "log", log_and_stop)
    with pytest.raises(Interrupted):
        start(tiny_data, run)
    report = train(compose("train", [f"resume={run}"]))
    assert is_as(run, whole) and 0 < report["seconds"] < 600
    seconds = [value for _, value in RunFolder.open(run).metrics()["time/seconds"]]
    assert seconds == sorted(seconds) and seconds[0] >= 0


def test_a_loss_that_is_no_number_keeps_the_batch(tiny_data, tmp_path, monkeypatch):
    draw, seen = Control.batch, []

    def batch(self, step):
        drawn = draw(self, step)
        if step == 25:
            drawn["observations"][1, 0, 3] = np.inf
            seen.append(drawn)
        return drawn

    monkeypatch.setattr(Control, "batch", batch)
    monkeypatch.setattr(
        "weit_rl.workflows.train_setup.OptimizerRecipe", lambda *words: OptimizerRecipe(*words, save_every=10)
    )
    run = tmp_path / "run"
    with pytest.raises(UserError, match=r"train stage: the loss is nan, .* at step 25: .*; the batch is in ") as error:
        start(tiny_data, run)
    path = run / "bad_batch.safetensors"
    assert str(error.value).endswith(str(path)) and "\n" not in str(error.value)
    tensors, card = read_tensors(path)
    assert card == {"format": "weit_rl batch 1", "stage": "train", "step": 25}
    assert tensors.keys() == {f"0.{name}" for name in seen[0]}
    assert all(torch.equal(tensors[f"0.{name}"], tensor) for name, tensor in seen[0].items())
    state = run / "checkpoints" / "train_state.safetensors"
    assert read_card(state)["step"] == 20
    assert all(tensor.isfinite().all() for tensor in read_tensors(state)[0].values())
