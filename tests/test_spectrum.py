"""Templates in closed form: exact at full rank, optimal below it; and banks from checkpoints."""

import pytest
import torch
from conftest import small_inputs, small_net
from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.network_from_bank import candidate_starts, network_of_size
from weit_rl.core.plan import Plan
from weit_rl.core.stacked_weights import stack_weights
from weit_rl.core.template_svd import best_templates, project, rank_for, spectrum, tile_rows
from weit_rl.initializers import Context, TrainedSource, svd_bank
from weit_rl.kernels.reference import kronecker_sum as compose
from weit_rl.models import MODELS
from weit_rl.training.loop import OptimizerRecipe, fit

PLAN = MODELS.get("dt").plan(8)
ROLES = {"qkv": "blocks.*.qkv.weight", "out": "blocks.*.out.weight", "fc1": "blocks.*.fc1.weight"}
STACKS = [  # leading axes, part, tile: one to four axes, divided by the tile and not
    ((4,), (9,), (4,)), ((2, 3), (8, 6), (4, 3)), ((3,), (7, 5), (3, 4)), ((2,), (5, 4, 3), (2, 4, 3)),
    ((2,), (8, 3, 3, 3), (4, 2, 3, 3)), ((3,), (6, 1, 3, 3), (4, 1, 3, 3)),
]  # fmt: skip


def stack_of(leading, part, seed=0):
    return torch.randn(*leading, *part, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def again(weights, templates):
    """Compose weights from templates and their best scalers."""
    leading = weights.shape[: weights.ndim - templates.ndim + 1]
    full = compose(project(weights, templates).flatten(0, len(leading) - 1), templates)
    cropped = full[tuple(slice(n) for n in (len(full), *weights.shape[len(leading) :]))]
    return cropped.reshape(weights.shape)


@pytest.mark.parametrize(("leading", "part", "tile"), STACKS)
def test_enough_templates_lose_nothing(leading, part, tile):
    weights = [stack_of(leading, part), stack_of((5,), part, 1)]  # two slots of one role
    templates = best_templates(weights, tile, rank=10_000)
    for stack in weights:
        torch.testing.assert_close(again(stack, templates), stack, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("leading", "part", "tile"), [STACKS[1], STACKS[4]])
@pytest.mark.parametrize("rank", [1, 3])
def test_the_error_is_the_tail_of_the_spectrum(leading, part, tile, rank):
    part = tuple(length // edge * edge for length, edge in zip(part, tile, strict=True))
    weights = stack_of(leading, part)
    error = (again(weights, best_templates([weights], tile, rank)) - weights).square().sum()
    torch.testing.assert_close(error, spectrum([weights], tile)[rank:].square().sum(), rtol=1e-10, atol=0)


def test_rows_are_tiles_in_the_order_of_the_grid():
    rows = tile_rows(torch.arange(24.0).view(1, 4, 6), (2, 3))
    assert rows.shape == (1, 4, 6)
    assert rows[0, 1].tolist() == [3, 4, 5, 9, 10, 11] and rows[0, 2].tolist() == [12, 13, 14, 18, 19, 20]


@pytest.mark.parametrize(
    ("values", "energy", "rank"),
    [([4, 3], 0.64, 1), ([4, 3], 0.65, 2), ([4, 3, 0], 1, 2), ([1] * 20, 0.95, 19), ([0, 0], 0.9, 1), ([2], 1, 1)],
)
def test_the_smallest_rank_that_keeps_the_energy(values, energy, rank):
    assert rank_for(torch.tensor(values, dtype=torch.float64), energy) == rank


# --- a bank from a checkpoint


def convolutional():
    return nn.Sequential(nn.Conv2d(3, 10, 3), nn.ReLU(), nn.Conv2d(10, 12, 3), nn.Flatten(), nn.Linear(108, 20))


@pytest.mark.parametrize(("constraint", "rank"), [("kronecker", 100), ("identity", 1)])
@pytest.mark.parametrize("family", ["dt", "convolutional"])
def test_a_bank_of_full_rank_is_the_network(constraint, rank, family):
    net = (small_net() if family == "dt" else convolutional()).double()
    plan = PLAN if family == "dt" else Plan.infer(net, tile=8)
    rank *= 10 if family == "convolutional" else 1
    composed = network_of_size(svd_bank.factorise(net, plan, rank, constraint), net, net, plan).compose()
    assert len(composed) == len(list(net.named_parameters()))
    for name, weight in net.named_parameters():
        torch.testing.assert_close(composed[name], weight, rtol=1e-10, atol=1e-10)


def test_below_full_rank_each_role_loses_its_tail_and_scalers_are_as_fresh_ones():
    net = small_net().double()
    bank, weights = svd_bank.factorise(net, PLAN, 6), stack_weights(net, PLAN)
    composed = network_of_size(bank, net, net, PLAN).weights()
    for role, key in ROLES.items():
        error = (composed[key] - weights[key]).square().sum()
        torch.testing.assert_close(error, spectrum([weights[key]], (8, 8))[6:].square().sum(), rtol=1e-8, atol=0)
        assert float(bank.source[f"own.{key}"].square().mean()) == pytest.approx(1 / 6)
        assert bank.templates[role].shape == (6, 8, 8)
    with pytest.raises(UserError, match="constraint=svd: has no closed form"):
        svd_bank.factorise(net, PLAN, 6, "svd")


def test_a_saved_one_starts_any_size(tmp_path):
    net = small_net(width=32)
    path = svd_bank.factorise(net, PLAN, 100, size=Size(32, 2, 8)).save(tmp_path / "bank.safetensors")
    bank = TemplateBank.load(path)
    assert bank.card["size"] == [32, 2, 8] and bank.card["sizes_sampled"] == ["32x2x8"]
    (wide,) = candidate_starts(bank, small_net(width=32, seed=1), small_net(width=64, seed=2), PLAN)
    torch.testing.assert_close(wide(*small_inputs()), net(*small_inputs()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rank", "steps", "same", "share_of_loss"), [(64, 0, True, 1.0), (4, 0, False, 1.1), (64, 5, False, 0.999)]
)
def test_the_initialiser_returns_the_source_or_trains_its_own_factors(rank, steps, same, share_of_loss):
    source, target, inputs = small_net(), small_net(seed=4), small_inputs()
    source.target_return.fill_(7)
    goal = torch.zeros_like(inputs[1])
    context = Context(
        PLAN, lambda net, step: (net(*inputs) - goal).square().mean(), fit, OptimizerRecipe(steps, 1e-2), 8
    )
    target.load_state_dict(svd_bank.svd_bank(TrainedSource(source), target, context, rank=rank))
    state = target.state_dict()
    near = [torch.allclose(state[name], tensor, rtol=1e-5, atol=1e-5) for name, tensor in source.state_dict().items()]
    assert all(near) == same and state["target_return"] == 7 and context.spent == {"steps": steps}
    assert context.loss(target, 0) < (share_of_loss + 1e-5) * context.loss(source, 0)  # by training it falls
