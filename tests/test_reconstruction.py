"""Narrow networks fitted layer by layer: exact where nothing is lost, better than a cut where something is."""

import copy

import pytest
import torch
from conftest import small_inputs, small_net
from torch import nn

from weit_rl import Plan
from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.resize import resize
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.fitting.least_squares import pivots, principal, ridge, zero_sum
from weit_rl.fitting.narrow_network import fit_in_order, reconstruct
from weit_rl.initializers import INITIALIZERS, Context, TrainedSource
from weit_rl.models import MODELS
from weit_rl.training.loop import OptimizerRecipe, fit

PLAN = MODELS.get("dt").plan(8)
SAMPLE = small_inputs(batch=400, seed=2)
INPUTS = small_inputs(batch=50)


def run(net):
    net(*SAMPLE)


def lively(width, **options):
    """Make a network whose every layer matters; fresh ones hardly change the stream."""
    net = small_net(width=width, **options)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if "norm" not in name and "modulate" not in name:
                p += 0.2 * torch.randn(p.shape, generator=generator)
    return net


def widened(net, width):
    """Return the same function at another width."""
    target = small_net(width=width, rtg="none")
    weights = resize(stack_weights(net, PLAN), PLAN.layout(net), PLAN.layout(target))
    target.load_state_dict(state_dict_of(target, weights, net, PLAN))
    return target


def apart(net, other):
    """Return the squared difference between the outputs of two networks, in units of its own spread."""
    a, b = net(*INPUTS).detach(), other(*INPUTS).detach()
    return float((a - b).square().mean() / b.var(dim=(0, 1)).mean())


def test_a_widened_network_becomes_narrow_again_without_loss():
    narrow = lively(16, rtg="none")
    wide, found = widened(narrow, 48), small_net(width=16, rtg="none", seed=9)
    found.observation_mean.fill_(7.0)  # a buffer comes with the weights
    torch.testing.assert_close(wide(*INPUTS), narrow(*INPUTS), rtol=1e-4, atol=1e-5)
    assert reconstruct(wide, found, PLAN, run, head_dim=8)
    assert torch.equal(found.observation_mean, wide.observation_mean)
    assert apart(found, narrow) < 1e-3 and apart(small_net(width=16, rtg="none", seed=9), narrow) > 0.1


@pytest.mark.parametrize("rtg", ["latest", "every", "none"])
def test_a_fit_is_nearer_than_a_cut(rtg):
    wide, target = lively(48, rtg=rtg), small_net(width=24, rtg=rtg, seed=9)
    cut = copy.deepcopy(target)
    weights = resize(stack_weights(wide, PLAN), PLAN.layout(wide), PLAN.layout(target))
    cut.load_state_dict(state_dict_of(cut, weights, wide, PLAN))
    before = {name: p.clone() for name, p in wide.state_dict().items()}
    assert reconstruct(wide, target, PLAN, run, head_dim=8)
    assert apart(target, wide) < 0.5 * apart(cut, wide)
    assert all(torch.equal(p, before[name]) for name, p in wide.state_dict().items())  # the source stays
    assert not any(
        module._forward_pre_hooks or module._forward_hooks for net in (wide, target) for module in net.modules()
    )


@torch.no_grad()
def test_a_block_whose_hidden_channels_are_dead_is_fitted_like_any_other():
    wide, target, cut = lively(48, rtg="none"), small_net(width=24, rtg="none", seed=9), small_net(width=24, rtg="none")
    wide.blocks[1].fc1.bias.fill_(-1e4)
    cut.load_state_dict(
        state_dict_of(cut, resize(stack_weights(wide, PLAN), PLAN.layout(wide), PLAN.layout(cut)), wide, PLAN)
    )
    assert reconstruct(wide, target, PLAN, run, head_dim=8)
    assert apart(target, wide) < 0.5 * apart(cut, wide)


def test_a_network_whose_stream_nothing_normalises_is_left_alone():
    def mlp(width):
        return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 8))

    source, target = mlp(16), mlp(8)
    before = copy.deepcopy(target.state_dict())
    assert not reconstruct(source, target, Plan.infer(source, tile=8), lambda net: net(torch.randn(9, 8)), head_dim=8)
    assert all(torch.equal(p, before[name]) for name, p in target.state_dict().items())


def test_each_layer_is_fitted_to_the_output_of_the_fitted_ones():
    net, seen = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), []

    def as_identity(module, x, error):
        seen.append((x.tolist(), error))
        nn.init.eye_(module.weight)
        nn.init.ones_(module.bias)
        return (error or 0) + 1

    fits = {"2": as_identity, "0": as_identity}  # in whatever order they are listed
    with torch.no_grad():
        fit_in_order(net, fits, lambda net: net(torch.tensor([[1.0, 2.0]])))
    assert seen == [([[1.0, 2.0]], None), ([[2.0, 3.0]], 1)]


def test_a_basis_is_orthonormal_and_unseen_by_a_layer_norm():
    basis = zero_sum(7)
    torch.testing.assert_close(basis.T @ basis, torch.eye(6).double())
    torch.testing.assert_close(basis.sum(0), torch.zeros(6).double(), atol=1e-12, rtol=0)
    x = torch.randn(100, 5) @ torch.randn(5, 20) + 3  # varies along five directions
    down = principal([x], 8)
    torch.testing.assert_close(down.sum(0), torch.zeros(20), atol=1e-5, rtol=0)
    centred = (x - x.mean(1, keepdim=True)) - (x - x.mean(1, keepdim=True)).mean(0)
    torch.testing.assert_close((centred @ down.T).square().sum(), centred.square().sum(), rtol=1e-4, atol=0)


def test_pivots_skip_dependent_columns():
    x = torch.randn(200, 6, dtype=torch.float64) * torch.tensor([5.0, 1, 1, 1, 0.1, 1])
    x[:, 1] = 0.9 * x[:, 0]  # large, but a copy
    assert pivots(x.T @ x, 1, 2).tolist() != [0, 1] and 0 in pivots(x.T @ x, 1, 2)
    assert pivots(x.T @ x, 1, 4).tolist() == [0, 2, 3, 5]
    assert pivots(x.T @ x, 2, 1).tolist() == [0]  # by units


def test_constant_channels_do_not_count():
    still, moving = torch.full((50, 4), 3.0), torch.randn(50, 2)
    weight, bias = ridge(still, moving)
    assert not weight.any() and torch.allclose(bias, moving.mean(0), atol=1e-6)
    assert len(pivots(torch.zeros(4, 4).double(), 2, 1)) == 1
    assert principal([still, torch.randn(50, 4)], 3).isfinite().all()


@pytest.mark.parametrize("intercept", [True, False])
def test_ridge_finds_a_linear_map(intercept):
    weight, bias = torch.randn(3, 4), torch.randn(3) if intercept else torch.zeros(3)
    x = torch.randn(500, 4)
    found, shift = ridge(x, x @ weight.T + bias, intercept)
    torch.testing.assert_close(found, weight, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(shift, bias, rtol=1e-3, atol=1e-3)


@pytest.fixture
def source():
    """Make a bank that sampled the widths 16 and 32."""
    net = lively(32, rtg="none")
    bank = TemplateBank.from_plan(PLAN, 4, "identity")
    bank.source = {f"own.{k}": v.detach() for k, v in WeiT(net, bank, PLAN).own().items()}
    bank.source |= {f"buffer.{k}": b for k, b in net.named_buffers()}
    bank.card |= {"size": [32, 2, 8], "sizes_sampled": ["16x2", "32x2"]}
    return TrainedSource(net, bank)


def loss_at_start(source, narrow, **changes):
    """Return the loss of weit at width 8 without training: the distance to the bank's network of width 16."""
    wanted = network_of_size(source.bank, source.net, small_net(width=16, rtg="none"), PLAN)(*SAMPLE).detach()

    def build(size):
        return small_net(width=size.width, depth=size.depth, rtg="none")

    def loss(net, step):
        return ((net(*SAMPLE) - wanted) ** 2).mean() if net is not source.net else wanted.new_tensor(1e-4)

    given = {"build": build, "run": run, "head_dim": 8} | changes
    target = small_net(width=8, rtg="none", seed=3)
    context = Context(PLAN, loss, fit, OptimizerRecipe(0, None), **given)
    target.load_state_dict(INITIALIZERS.get("weit").make(source, target, context, narrow=narrow))
    return float(loss(target, 0).detach())


def test_weit_fits_a_size_narrower_than_any_sampled_one(source):
    cut, fitted = loss_at_start(source, "cut"), loss_at_start(source, "fitted")
    assert fitted < 0.5 * cut
    assert loss_at_start(source, "fitted", build=None) == cut  # where the family is not known
    with pytest.raises(UserError, match="unknown narrow 'fited'"):
        loss_at_start(source, "fited")
