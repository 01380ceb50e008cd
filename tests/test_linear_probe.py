"""Heads that are fitted in closed form: to any loss, of any model, and what a body that no bank knows makes of it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import small_inputs, small_net
from torch import nn

from weit_rl.core.bank_bodies import bank_for
from weit_rl.core.plan import HEAD, Plan, Rule
from weit_rl.fitting.head import fit_head
from weit_rl.initializers import INITIALIZERS, Context, TrainedSource
from weit_rl.initializers._shared.stage_rates import FAR_LR
from weit_rl.initializers.svd_bank import factorise
from weit_rl.models import MODELS
from weit_rl.training.loop import OptimizerRecipe

LINEAR = Plan(
    (Rule("head.weight", HEAD, None, 1, ("fixed", "stream"), 1), Rule("head.bias", HEAD, None, 1, ("fixed",)))
)


class Linear(nn.Module):
    """A head and nothing else."""

    def __init__(self, out=3):
        super().__init__()
        self.head = nn.Linear(6, out)

    def forward(self, x):
        return self.head(x)


def drawn(step, rows=64):
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(step))


def test_squared_losses_are_fitted_exactly():
    net, true = Linear(), torch.randn(3, 6, generator=torch.Generator().manual_seed(9))
    fit_head(net, LINEAR.layout(net), lambda net, step: ((net(drawn(step)) - drawn(step) @ true.T - 1) ** 2).mean(), 5)
    torch.testing.assert_close(net.head.weight, true, rtol=0, atol=0.01)
    torch.testing.assert_close(net.head.bias, torch.ones(3), rtol=0, atol=0.01)


def test_classes_of_unseen_batches_are_predicted():
    net = Linear(4)

    def loss(net, step):
        return F.cross_entropy(net(drawn(step)), drawn(step)[:, :4].argmax(1))

    before = float(loss(net, 100).detach())
    fit_head(net, LINEAR.layout(net), loss, rounds=4)
    assert float(loss(net, 100).detach()) < 0.5 * before
    assert (net(drawn(100)).argmax(1) == drawn(100)[:, :4].argmax(1)).float().mean() > 0.9


def test_rows_outside_the_loss_do_not_count():
    """Check batches of which a tenth counts, and the other rows hold very large inputs."""
    true = torch.ones(3, 6)

    def loss(net, step, scale):
        x = torch.cat([drawn(step, 8), scale * drawn(step + 50, 72)])
        return ((net(x) - x @ true.T) ** 2)[:8].mean()

    fits = []
    for scale in (1.0, 100.0):
        torch.manual_seed(0)
        net = Linear()
        fit_head(net, LINEAR.layout(net), lambda net, step, scale=scale: loss(net, step, scale))
        fits.append(net.head.weight)
    torch.testing.assert_close(*fits)


def test_noise_is_not_learned():
    """Check that a fit to the batches that were seen, which fits no others, is not taken."""
    net = Linear()

    def loss(net, step):
        return (
            (net(drawn(step, 4)) - 3 * torch.randn(4, 3, generator=torch.Generator().manual_seed(step))) ** 2
        ).mean()

    zero = nn.init.zeros_(net.head.weight), nn.init.zeros_(net.head.bias)
    before = sum(loss(net, step).item() for step in range(100, 200))
    fit_head(net, LINEAR.layout(net), loss)
    assert sum(loss(net, step).item() for step in range(100, 200)) < 1.1 * before
    assert all(p.isfinite().all() for p in zero)


@pytest.mark.parametrize(("scale", "stays"), [(50.0, False), (1.0, True)])
def test_a_saturated_head_is_left_and_a_good_one_kept(scale, stays):
    """Check that a head without gradient, since ``tanh`` is flat there, begins again."""
    net, true = Linear(), torch.randn(3, 6, generator=torch.Generator().manual_seed(9)) / 3
    net.head.load_state_dict({"weight": true * scale, "bias": torch.zeros(3)})

    def loss(net, step):
        return ((net(drawn(step)).tanh() - (drawn(step) @ true.T).tanh()) ** 2).mean()

    fit_head(net, LINEAR.layout(net), loss)
    assert torch.equal(net.head.weight, true) == stays
    assert float(loss(net, 100).detach()) < 0.03


@pytest.mark.parametrize("model", MODELS.names())
def test_every_model_has_a_head_and_nothing_else_is_touched(model):
    net = small_net(model)
    teacher, layout = copy.deepcopy(net), MODELS.get(model).plan(8).layout(net)
    heads = [name for key, slot in layout.items() if slot.rule.role == HEAD for name in slot.names]
    assert heads
    for name in heads:
        nn.init.normal_(teacher.get_parameter(name), std=0.3)

    def loss(net, step):
        inputs = small_inputs(model, seed=step, batch=8)
        outputs = [getattr(one(*inputs), "sample", one(*inputs)) for one in (net, teacher.eval())]
        return ((outputs[0] - outputs[1].detach()) ** 2).mean()

    before = copy.deepcopy(net).eval()
    fit_head(net, layout, loss, rounds=3)
    assert loss(net.eval(), 100).item() < 0.5 * loss(before, 100).item()
    changed = {name for name, p in net.named_parameters() if not torch.equal(p, before.get_parameter(name))}
    assert changed <= set(heads) and all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("steps", [0, 10, 100])
def test_a_new_body_starts_with_a_fitted_head(steps):
    """Check a wider, deeper target: in few steps the rate is lower, since larger steps would undo the fit."""
    plan, net = MODELS.get("dt").plan(8), small_net(width=32)
    bank, inputs, rates = factorise(net, plan, 8), small_inputs(), []
    wanted = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(5)) - 0.5

    def start(**card):
        bank.card |= card
        target = small_net(width=48, depth=3, seed=3)

        def loss(net, step):
            return ((net(*inputs) - wanted) ** 2).mean()

        def fit(module, loss, recipe, groups):
            rates.append(recipe.lr)
            return module

        context = Context(plan, loss, fit, OptimizerRecipe(steps, None), head_dim=8)
        target.load_state_dict(INITIALIZERS.get("weit").make(TrainedSource(net, bank), target, context))
        return loss(target, 0).item()

    assert start(untrained_body=True, new_body=True) < 0.7 * start(untrained_body=False, new_body=True)
    assert rates[0] == pytest.approx(FAR_LR * (steps / 100) ** 1.5)


@pytest.mark.parametrize("model", ["vit", "convnext", "dit"])
def test_other_images_keep_the_patches_and_get_other_classes(model):
    """Check that the patch embedding is kept, and drawn anew if the number of channels differs."""
    family, net = MODELS.get(model), small_net(model)
    plan = family.plan(8)
    bank = factorise(net, plan, 8)
    bank.card |= {"names": ["digits"]}
    for channels in (3, 1):
        fresh = small_net(model, seed=1, channels=channels, classes=5)
        other = bank_for(bank, "letters", fresh, plan, family.bound, family.transferred)
        assert other.card["new_body"] and other.card["untrained_body"]
        for key, slot in plan.layout(fresh).items():
            if key.startswith(family.bound):
                fits = key.startswith(family.transferred) and slot.shape == plan.layout(net)[key].shape
                begins = net if fits else fresh
                expected = torch.stack([begins.get_parameter(name) for name in slot.names])
                assert torch.equal(other.source[f"own.{key}"].flatten(), expected.flatten())
