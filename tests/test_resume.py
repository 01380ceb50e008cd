"""Runs that were stopped: what they print, and that they go on as if they had never been."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
from conftest import TINY, TINY_PRETRAIN

from weit_rl.common.errors import Interrupted
from weit_rl.options.command import compose
from weit_rl.pretrain import main as pretrain
from weit_rl.train import main as train
from weit_rl.training.run_folder import RunFolder

RUNS = [*TINY, "size=64x2", "scaler_steps=20", "train_steps=20", "evaluate_every=10", "validation_episodes=1"]


def checkpoint(run, name):
    return (run / "checkpoints" / f"{name}.safetensors").read_bytes()


def metrics(run):
    """Return all rows but the clock's."""
    return [row for row in csv.reader((run / "metrics.csv").open()) if row[1] != "time/seconds"]


def stop_at(monkeypatch, step, how=lambda: os.kill(os.getpid(), signal.SIGTERM)):
    """Stop the next run as it logs a step."""
    log = RunFolder.log

    def log_and_stop(run, now, values):
        log(run, now, values)
        if now == step:
            monkeypatch.setattr(RunFolder, "log", log)
            how()

    monkeypatch.setattr(RunFolder, "log", log_and_stop)


def interrupt():
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def uninterrupted(tiny_data, tiny_bank, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    train(compose("train", [*RUNS, f"data={tiny_data}", f"bank={tiny_bank}", f"run_dir={run}"]))
    return run


@pytest.mark.parametrize(
    ("step", "how"),
    [
        pytest.param(10, None, marks=pytest.mark.slow),
        pytest.param(20, None, marks=pytest.mark.slow),
        (30, None),
        (20, interrupt),
        pytest.param(40, interrupt, marks=pytest.mark.slow),
    ],
    ids=["scaler stage", "its end", "training", "ctrl-c in the scaler stage's end", "ctrl-c in the last validation"],
)
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    step, how, uninterrupted, tiny_data, tiny_bank, tmp_path, monkeypatch
):
    run = tmp_path / "r [1] x=2"
    stop_at(monkeypatch, step, *[how] if how else [])
    with pytest.raises(Interrupted, match=r"go on with: python -m weit_rl.train 'resume=") as stop:
        train(compose("train", [*RUNS, f"data={tiny_data}", f"bank={tiny_bank}", f"run_dir={run}"]))
    assert stop.value.exit_code == (130 if how else 143)
    report = train(compose("train", [f"resume={run}"]))
    assert all(checkpoint(run, name) == checkpoint(uninterrupted, name) for name in ("start", "best", "last"))
    assert report.pop("run_dir") == str(run)
    assert {**report, "seconds": 0} == {**json.loads((uninterrupted / "evaluation.json").read_text()), "seconds": 0}
    rows, expected = (metrics(path) for path in (run, uninterrupted))
    assert rows == expected


def test_a_pretraining_stopped_and_resumed_makes_the_same_bank(tiny_bank, tiny_data, tmp_path, monkeypatch):
    stop_at(monkeypatch, 10)
    words = [*TINY_PRETRAIN, f"data={tiny_data}", f"run_dir={tmp_path / 'run'}"]
    with pytest.raises(
        Interrupted, match=r"SIGTERM after step 10 of 12; go on with: python -m weit_rl.pretrain resume="
    ):
        pretrain(compose("pretrain", words))
    assert not (tmp_path / "run" / "bank.safetensors").exists()
    pretrain(compose("pretrain", [f"resume={tmp_path / 'run'}"]))
    assert (tmp_path / "run" / "bank.safetensors").read_bytes() == tiny_bank.read_bytes()


@pytest.mark.slow
def test_a_process_stopped_by_sigterm_resumes_by_the_command_it_printed(tiny_data, tiny_bank, tmp_path):
    words = [*RUNS, f"data={tiny_data}", f"bank={tiny_bank}", "scaler_steps=0", "train_steps=300"]
    words += ["validation_episodes=0"]
    module = [sys.executable, "-m", "weit_rl.train"]
    run = tmp_path / "runs of [a], b=c"
    process = subprocess.Popen(
        [*module, *words, f"run_dir={run}"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (run / "metrics.csv").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and err.count("\n") == 1, err
    resume = shlex.split(err.partition("python -m weit_rl.train ")[2])
    done = subprocess.run([*module, *resume], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"run folder: {run}" in done.stdout and [path.name for path in tmp_path.iterdir()] == [run.name]
    train(compose("train", [*words, f"run_dir={tmp_path / 'whole'}"]))
    assert checkpoint(run, "last") == checkpoint(tmp_path / "whole", "last")
