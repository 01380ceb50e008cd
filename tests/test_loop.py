"""The one optimisation loop: its schedule, its clipping, and what is left when it is stopped or goes wrong."""

import math
import os
import signal
import threading

import pytest
import torch
from torch import nn

from weit_rl.common.errors import Interrupted, UserError
from weit_rl.storage.tensor_file import read_card
from weit_rl.training.flops import Flops
from weit_rl.training.loop import OptimizerRecipe, fit, learning_rate


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


def loss_of(net, at=None, do=lambda: None):
    """Return a regression on a batch that only the step decides; it calls ``do`` in step ``at``."""

    def loss(step):
        if step == at:
            do()
        x = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
        return ((net(x) - x.prod(dim=1, keepdim=True)) ** 2).mean()

    return loss


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_rate_warms_up_and_falls_to_zero_as_a_cosine():
    recipe = OptimizerRecipe(steps=100, warmup=0.2)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert rates[20] == 1 and rates[60] == pytest.approx(0.5) and 0 < rates[99] < 1e-3
    assert rates[40] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert [learning_rate(OptimizerRecipe(steps=1, warmup=warmup), 0) for warmup in (0, 0.1, 1)] == [1, 1, 1]


def test_a_groups_own_rate_and_decay_override_the_recipes():
    weights = [nn.Parameter(torch.full((4,), 2.0)) for _ in range(3)]
    groups = [{"params": [weights[0]]}, {"params": [weights[1]], "lr": 1e-2},
              {"params": [weights[2]], "weight_decay": 0.0}]  # fmt: skip
    recipe = OptimizerRecipe(steps=1, lr=1e-3, weight_decay=0.5)
    fit(nn.ParameterList(weights), lambda step: sum(w.sum() for w in weights), recipe, groups)
    # Adam's first step is the rate itself, whatever the gradient; AdamW's decay takes lr * decay * weight besides
    moved = [2 - w.mean().item() for w in weights]
    assert moved == pytest.approx([1e-3 + 1e-3, 1e-2 + 1e-2, 1e-3], rel=1e-3)


@pytest.mark.parametrize(("scale", "norm"), [(1e4, 0.25), (1e-4, 1e-4)])
def test_only_large_gradients_are_clipped(scale, norm):
    weight = nn.Parameter(torch.ones(4))
    fit(nn.ParameterList([weight]), lambda step: scale * weight.sum() / 2, OptimizerRecipe(steps=1, clip=0.25))
    assert weight.grad.norm().item() == pytest.approx(norm, rel=1e-4)


def test_frozen_parameters_stay():
    net, start = network(), network()
    net[0].requires_grad_(False)
    fit(net, loss_of(net), OptimizerRecipe(steps=3))
    assert same(net[0], start[0]) and not same(net[3], start[3])


def test_zero_steps_change_nothing(tmp_path):
    net = network()
    fit(net, lambda step: pytest.fail("no step was asked for"), OptimizerRecipe(steps=0), checkpoint=tmp_path / "x")
    assert same(net, network()) and not list(tmp_path.iterdir())


def endless_gradient(net):
    """Return a finite loss whose gradient is not finite: the root of 0."""
    return (net[0].weight - net[0].weight.detach()).abs().sum().sqrt()


@pytest.mark.parametrize("bad", [lambda net: net[0].weight.sum() * math.nan, lambda net: net[0].weight.sum() * math.inf,
                                 endless_gradient], ids=["nan", "inf", "gradient"])  # fmt: skip
def test_a_loss_that_is_no_number_is_refused_and_the_last_checkpoint_stays(bad, tmp_path):
    net, before = network(), {}
    plain = loss_of(net)

    def loss(step):
        if step == 5:
            before.update({file.name: file.read_bytes() for file in tmp_path.iterdir()})
        return bad(net) if step == 5 else plain(step)

    recipe = OptimizerRecipe(steps=9, save_every=2)
    with pytest.raises(UserError, match="at step 5: lower the learning rate"):
        fit(net, loss, recipe, checkpoint=tmp_path / "state")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert read_card(tmp_path / "state")["step"] == 4
    assert all(p.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("at", [0, 4, 7])
def test_a_resumed_stage_ends_as_an_uninterrupted_one(number, at, tmp_path):
    recipe, reported = OptimizerRecipe(steps=12, lr=1e-2, save_every=100), []
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    stopped = network()
    loss = loss_of(stopped, at, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match=rf"{number.name} after step {at + 1} of 12") as stop:
        fit(stopped, loss, recipe, on_step=lambda *done: reported.append(done), checkpoint=tmp_path / "state")
    assert stop.value.exit_code == 128 + number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers

    resumed = network(seed=1)  # its own start does not matter
    fit(resumed, loss_of(resumed), recipe, on_step=lambda *done: reported.append(done), checkpoint=tmp_path / "state")
    whole, expected = network(), []
    fit(whole, loss_of(whole), recipe, on_step=lambda *done: expected.append(done))
    assert same(resumed, whole) and reported == expected


def test_a_crashed_stage_resumes_from_its_last_checkpoint(tmp_path):
    recipe, crashed = OptimizerRecipe(steps=9, save_every=3), network()

    def crash():
        raise RuntimeError("the machine went away")

    with pytest.raises(RuntimeError):
        fit(crashed, loss_of(crashed, 7, crash), recipe, checkpoint=tmp_path / "state")
    resumed, whole, steps = network(seed=1), network(), []
    fit(resumed, loss_of(resumed), recipe, on_step=lambda step, _: steps.append(step), checkpoint=tmp_path / "state")
    fit(whole, loss_of(whole), recipe)
    assert same(resumed, whole) and steps == [7, 8, 9]


def test_it_leaves_the_global_generator_as_it_was():
    net = network()
    before = torch.random.get_rng_state()
    fit(net, loss_of(net), OptimizerRecipe(steps=3))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_finished_stage_is_not_done_again(tmp_path):
    net, again = network(), network(seed=1)
    recipe = OptimizerRecipe(steps=3)
    fit(net, loss_of(net), recipe, checkpoint=tmp_path / "state")
    fit(again, lambda step: pytest.fail("a step was done again"), recipe, checkpoint=tmp_path / "state")
    assert same(net, again)


def test_outside_the_main_thread_it_trains_without_touching_signals():
    net, whole = network(), network()
    thread = threading.Thread(target=fit, args=(net, loss_of(net), OptimizerRecipe(steps=3)))
    thread.start()
    thread.join()
    assert same(net, fit(whole, loss_of(whole), OptimizerRecipe(steps=3)))


def test_flops_include_attention():
    query = torch.randn(2, 3, 20, 8)
    flops = Flops()
    with flops.counted():
        nn.functional.scaled_dot_product_attention(query, query, query)
    assert flops.total == 2 * 2 * (2 * 3 * 20 * 20 * 8)  # two products of two FLOPs each
