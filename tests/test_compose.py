"""The composition against torch.kron, and its derivatives."""

import pytest
import torch

from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.plan import Rule, Slot
from weit_rl.kernels.reference import kronecker_sum as compose

# grid, tile: one to four axes, square and not
SHAPES = [
    ((3,), (4,)),
    ((2, 3), (4, 2)),
    ((1, 4), (3, 3)),
    ((2, 1, 1), (3, 2, 5)),
    ((2, 3, 1, 1), (4, 2, 3, 3)),
    ((4, 1, 1, 1), (2, 1, 3, 3)),
]


def by_kron(scalers, templates):
    return torch.stack([sum(torch.kron(s, t) for s, t in zip(layer, templates, strict=True)) for layer in scalers])


def factors(grid, tile, batch=2, rank=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scalers = torch.randn(batch, rank, *grid, generator=generator, dtype=torch.float64, requires_grad=True)
    templates = torch.randn(rank, *tile, generator=generator, dtype=torch.float64, requires_grad=True)
    return scalers, templates


@pytest.mark.parametrize(("grid", "tile"), SHAPES)
def test_forward_and_gradients_equal_torch_kron(grid, tile):
    scalers, templates = factors(grid, tile)
    ours, theirs = compose(scalers, templates), by_kron(scalers, templates)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(theirs)
    for a, b in zip(
        torch.autograd.grad(ours, (scalers, templates), upstream),
        torch.autograd.grad(theirs, (scalers, templates), upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("grid", "tile"), SHAPES)
def test_derivatives_pass_gradcheck(grid, tile):
    assert torch.autograd.gradcheck(compose, factors(grid, tile))


@pytest.mark.parametrize(("grid", "tile"), [shape for shape in SHAPES if shape[0][0] > 1])
def test_a_smaller_grid_gives_the_top_left_block(grid, tile):
    scalers, templates = factors(grid, tile)
    small = compose(scalers[:, :, : grid[0] - 1], templates)
    whole = compose(scalers, templates)
    torch.testing.assert_close(small, whole[:, : small.shape[1]], rtol=1e-12, atol=1e-12)


def slot_of(shape, tile, layers=2, split=1):
    rule = Rule("w", "w", tile, split, ("a",) * len(shape))
    return Slot("w", rule, tuple(f"w{i}" for i in range(layers)), shape, True)


@pytest.mark.parametrize(
    ("shape", "tile", "split"),
    [
        ((7, 5), (4, 2), 1),
        ((12, 6), (4, 4), 3),
        ((9,), (4,), 1),
        ((6, 5, 3), (4, 4, 3), 2),
        ((8, 1, 3, 3), (4, 1, 3, 3), 1),
    ],
)
def test_any_size_by_ceil_and_crop_with_fused_parts(shape, tile, split):
    constraint, slot = CONSTRAINTS.get("kronecker"), slot_of(shape, tile, split=split)
    generator = torch.Generator().manual_seed(1)
    templates = constraint.shared(5, tile, 0.02, generator).double()
    weights = torch.randn(slot.full_shape, dtype=torch.float64)
    own = constraint.own(slot, templates, weights, generator)
    full = constraint.compose(own, templates, slot)
    assert full.shape == (2, split, shape[0] // split, *shape[1:])
    expected = by_kron(own[1, split - 1][None], templates)[0][tuple(slice(n) for n in slot.part)]
    torch.testing.assert_close(full[1, split - 1], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CONSTRAINTS.names())
def test_fresh_weights_have_the_spread_of_the_dense_init(name):
    constraint, slot = CONSTRAINTS.get(name), slot_of((128, 256), (16, 16), layers=3)
    generator = torch.Generator().manual_seed(2)
    templates = constraint.shared(16, (16, 16), 0.02, generator)
    weights = torch.randn(slot.full_shape, generator=generator) * 0.07
    full = constraint.compose(constraint.own(slot, templates, weights, generator), templates, slot)
    assert float(full.std()) == pytest.approx(0.07, rel=0.1)


def test_weights_that_start_at_zero_do_and_still_learn():
    constraint, slot = CONSTRAINTS.get("kronecker"), slot_of((8, 8), (4, 4))
    generator = torch.Generator().manual_seed(3)
    templates = constraint.shared(4, (4, 4), 0.02, generator)
    own = constraint.own(slot, templates, torch.zeros(slot.full_shape), generator).requires_grad_()
    full = constraint.compose(own, templates, slot)
    assert torch.equal(full, torch.zeros_like(full))
    full.sum().backward()
    assert own.grad.abs().min() > 0


def test_enough_templates_represent_any_weights():
    """Check universality: with one template per entry of a tile, the Kronecker form represents any weight."""
    slot = slot_of((6, 6), (3, 2), layers=2)
    weights = torch.randn(slot.full_shape, dtype=torch.float64)
    templates = torch.eye(6, dtype=torch.float64).view(6, 3, 2)
    scalers = torch.empty(2, 1, 6, 2, 3, dtype=torch.float64)
    for n, (i, j) in enumerate((i, j) for i in range(3) for j in range(2)):
        scalers[:, :, n] = weights[:, :, i::3, j::2]
    torch.testing.assert_close(CONSTRAINTS.get("kronecker").compose(scalers, templates, slot), weights)
