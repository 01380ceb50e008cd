"""Networks that change their size while they are trained: function, moments, schedule, resuming."""

import functools
import os
import signal

import pytest
import torch
from conftest import OPTIONS, TINY, small_inputs, small_net

from weit_rl.common.errors import Interrupted, UserError
from weit_rl.common.sizes import Size
from weit_rl.core.growing import Segment, copied_blocks, rescale_optimizer, rescale_state, segments
from weit_rl.models import MODELS
from weit_rl.options.command import compose
from weit_rl.train import main as train
from weit_rl.training.checkpoint import fill_optimizer, flatten_optimizer, load_network
from weit_rl.training.loop import OptimizerRecipe, fit
from weit_rl.training.run_folder import RunFolder

PLAN = {name: MODELS.get(name).plan(8) for name in OPTIONS}
GROW = "grow=[[0, 32x1], [5, 64x2], [9, 64x3]]"


def loss_of(net, name):
    inputs = small_inputs(name)
    return lambda step: net(*inputs).sub(0.1).square().mean()


@functools.cache
def trained(name):
    """Train a small network for a few steps, the same for all growths."""
    net = small_net(name, 16, 2)
    fit(net, loss_of(net, name), OptimizerRecipe(20, 1e-2))
    return net


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize(("width", "depth"), [(16, 5), (32, 2), (48, 2), (32, 3), (64, 7)])
def test_the_loss_is_unbroken_at_a_growth(name, width, depth):
    net, inputs = trained(name), small_inputs(name)
    target = small_net(name, width, depth, seed=1)
    target.load_state_dict(rescale_state(net, target, PLAN[name]))
    torch.testing.assert_close(target(*inputs), net(*inputs), rtol=1e-5, atol=1e-5)
    fit(target, loss_of(target, name), OptimizerRecipe(5, 1e-3))
    blocks = [p for key, p in target.named_parameters() if key.endswith("fc2.weight")]
    assert all(block.abs().max() > 0 for block in blocks)  # new blocks learn from the first step on


def test_shrinking_is_what_resize_does():
    net, target = small_net(width=32, depth=4), small_net(width=16, depth=2, seed=1)
    target.load_state_dict(rescale_state(net, target, PLAN["dt"]))
    assert torch.equal(target.blocks[1].fc2.weight, net.blocks[3].fc2.weight[:16, :64])


def test_blocks_made_from_one_are_copies_but_for_the_first():
    assert copied_blocks(2, 2) == [] and copied_blocks(3, 2) == [] and copied_blocks(1, 3) == [1, 2]
    assert copied_blocks(2, 4) == [1, 3] and copied_blocks(2, 5) == [1, 3, 4]


def test_moments_follow_their_weights():
    net, target = small_net(width=16, depth=2), small_net(width=32, depth=3, seed=1)
    optimizer = torch.optim.AdamW(net.parameters())
    loss_of(net, "dt")(0).backward()
    optimizer.step()
    state = rescale_optimizer(flatten_optimizer(optimizer), net, target, PLAN["dt"])
    other = torch.optim.AdamW(target.parameters())
    fill_optimizer(other, state)
    old, new = (dict(n.named_parameters()) for n in (net, target))
    for key in ("blocks.0.fc1.weight", "head.weight", "embed_observation.bias"):
        for moment in ("exp_avg", "exp_avg_sq"):
            before, after = optimizer.state[old[key]][moment], other.state[new[key]][moment]
            assert torch.equal(after[tuple(slice(n) for n in before.shape)], before)
    loss_of(target, "dt")(0).backward()
    other.step()
    assert {float(s["step"]) for s in other.state.values()} == {2.0}


@pytest.mark.parametrize(
    ("schedule", "says"),
    [([[1, "64x2"]], "begin at 0"), ([[0, "64x2"], [0, "64x3"]], "rise"), ([[0, "64x2"], [10, "64x3"]], "train_steps"),
     ([[0, "65x2"]], "multiple of head_dim"),
     ([[0, "64x2"], [5, "128x2x64"]], "same head_dim"),
     (["64x2"], "a list such as"), ([[0]], "a list such as")],
)  # fmt: skip
def test_bad_schedules_are_refused(schedule, says):
    with pytest.raises(UserError, match=says):
        segments(schedule, 10)


def test_a_schedule_covers_the_training():
    found = segments([["0", "tiny"], ["4", "128x3"]], 10)
    assert found == [Segment(0, 4, Size(64, 2)), Segment(4, 10, Size(128, 3))]
    assert [segment.name for segment in found] == ["train", "train-4-128x3"]


def test_a_repeated_size_continues_from_the_size_before_it(tiny_data, tmp_path):
    found = []
    for third in ("32x1", "96x2"):
        words = [*TINY, "init=scratch", f"grow=[[0, 32x1], [2, 64x1], [4, {third}], [6, 64x1]]", "train_steps=8"]
        words += ["validation_episodes=0", f"data={tiny_data}", f"run_dir={tmp_path / third}"]
        train(compose("train", words))
        found.append(RunFolder.open(tmp_path / third).metrics()["train-6-64x1/loss"])
    assert found[0] != found[1]


@pytest.mark.slow
def test_a_run_grows_and_a_stopped_one_ends_the_same(tiny_data, tmp_path, monkeypatch):
    words = [*TINY, "init=scratch", GROW, "train_steps=14", "validation_episodes=0", f"data={tiny_data}"]
    report = train(compose("train", [*words, f"run_dir={tmp_path / 'whole'}"]))
    assert (report["size"], report["train_steps"]) == ("64x3", 14) and report["flops"] > 0
    whole, card = load_network(tmp_path / "whole" / "checkpoints" / "last.safetensors")
    assert card["size"] == [64, 3, 32]
    losses = dict(RunFolder.open(tmp_path / "whole").metrics()["train-9-64x3/loss"])
    assert set(losses) == {10, 14}
    log = RunFolder.log
    for at in (5, 10):

        def stop(run, now, values, at=at):
            log(run, now, values)
            if now == at:
                monkeypatch.undo()
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(RunFolder, "log", stop)
        with pytest.raises(Interrupted):
            train(compose("train", [*words, f"run_dir={tmp_path / f'cut{at}'}"]))
        again = train(compose("train", [f"resume={tmp_path / f'cut{at}'}"]))
        cut, _ = load_network(tmp_path / f"cut{at}" / "checkpoints" / "last.safetensors")
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), cut.parameters(), strict=True))
        assert {**again, "seconds": 0, "run_dir": ""} == {**report, "seconds": 0, "run_dir": ""}
