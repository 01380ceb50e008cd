"""The running average of the weights: what it is, that a resumed run has the same, and that it is off by default."""

import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from weit_rl import vision
from weit_rl.common.errors import Interrupted, UserError
from weit_rl.options.command import compose
from weit_rl.storage.tensor_file import read_tensors
from weit_rl.training.ema import AveragedNetwork
from weit_rl.training.loop import OptimizerRecipe, fit
from weit_rl.training.run_folder import RunFolder

pytest.importorskip("timm", reason="the vision extra is not installed")

TINY = {"threads": 1, "device": "cpu", "batch_size": 16, "size": "32x1", "init": "scratch", "train_steps": 12}


def test_it_is_the_exponential_average_with_a_decay_that_rises():
    net = nn.Linear(1, 1, bias=False)
    both, expected = AveragedNetwork(net, 0.5), 0.0
    for step, value in enumerate((3.0, 5.0, -2.0, 4.0, 9.0, 1.0, 2.0, 2.0, 7.0, 1.0)):
        nn.init.constant_(net.weight, value)
        both.update()
        decay = min(0.5, (1 + step) / (10 + step)) if step else 0
        expected = decay * expected + (1 - decay) * value
        assert both.average.weight.item() == pytest.approx(expected)
    assert decay == 0.5 and net.weight.item() == 1.0
    assert [p is net.weight for p in both.parameters() if p.requires_grad] == [True]


def test_the_average_does_not_change_the_training():
    trained = []
    for decay in (None, 0.9):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 1))
        module = net if decay is None else AveragedNetwork(net, decay)
        fit(module, lambda step, net=net: net(torch.ones(5, 3)).square().mean(), OptimizerRecipe(6, 1e-2))
        trained.append(net.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def checkpoint(run, name):
    return run / "checkpoints" / f"{name}.safetensors"


@pytest.mark.parametrize("task", ["classification", "diffusion"])
def test_the_average_is_scored_and_kept_and_a_resumed_run_has_the_same(task, tmp_path, monkeypatch):
    options, log = {**TINY, "task": task, "evaluate_every": 6}, RunFolder.log
    report = vision.train(**options, ema=0.9, run_dir=tmp_path / "whole")

    def stop(run, step, values):
        log(run, step, values)
        if "validation/loss" in values and step == 6:
            monkeypatch.setattr(RunFolder, "log", log)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "log", stop)
    with pytest.raises(Interrupted, match="after step 6 of 12"):
        vision.train(**options, ema=0.9, run_dir=tmp_path / "stopped")
    again = vision.main(compose("vision", [f"task={task}", f"resume={tmp_path / 'stopped'}"]))
    for name in ("last", "best", "train_state"):
        assert checkpoint(tmp_path / "whole", name).read_bytes() == checkpoint(tmp_path / "stopped", name).read_bytes()
    assert again["loss"] == report["loss"] == vision.evaluate(tmp_path / "whole", checkpoint="last")["loss"]
    state, last = (read_tensors(checkpoint(tmp_path / "whole", name))[0] for name in ("train_state", "last"))
    vision.train(**options, run_dir=tmp_path / "off")
    off = read_tensors(checkpoint(tmp_path / "off", "last"))[0]
    name = next(name for name in last if name.endswith("weight"))
    assert torch.equal(state[f"module.net.{name}"], off[name])  # what is trained is what it was
    (average,) = (x for key, x in state.items() if "averaged" in key and key.endswith(f".{name}"))
    assert torch.equal(average, last[name]) and not torch.equal(last[name], off[name])


def test_without_it_a_run_holds_no_average(tmp_path):
    vision.train(**TINY, validation=False, run_dir=tmp_path / "run")
    assert not any("averaged" in name for name in read_tensors(checkpoint(tmp_path / "run", "train_state"))[0])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ema": 1.0}, "ema=1.0: must be from 0 to 0.99999"),
        ({"ema": 0.9, "grow": [[0, "32x1"], [4, "64x1"]]}, "ema=0.9: an average is of one size; leave out grow or ema"),
    ],
)
def test_bad_decays_are_refused(options, says, tmp_path):
    with pytest.raises(UserError, match=says):
        vision.train(**{**TINY, **options}, run_dir=tmp_path / "run")
    assert not Path(tmp_path / "run").exists()
