"""Statements of docs/theory.md that no other test checks, in numbers."""

from pathlib import Path

import pytest
import torch

from weit_rl.common.sizes import LADDER, Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.counts import compose_flops, count_numbers, occam_bound
from weit_rl.core.template_svd import best_templates, project, tile_rows
from weit_rl.kernels.reference import kronecker_sum as compose
from weit_rl.models import MODELS

ROOT = Path(__file__).parents[1]
HALFCHEETAH = {"observation_dim": 17, "action_dim": 6}
SIZES = [LADDER["tiny"], LADDER["small"], LADDER["base"], LADDER["large"], LADDER["xlarge"]]


def net_of(size):
    return MODELS.get("dt").build(size, **HALFCHEETAH)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_rearranging_keeps_sums_of_squares_and_makes_products_of_rank_one():
    s, t = randn(3, 4), randn(5, 2)
    rows = tile_rows(torch.kron(s, t), (5, 2))[0]
    torch.testing.assert_close(rows, s.flatten()[:, None] * t.flatten(), rtol=1e-12, atol=1e-12)
    assert rows.square().sum() == pytest.approx(torch.kron(s, t).square().sum().item())


@pytest.mark.parametrize(("layers", "grid", "tile"), [(2, (2, 3), (4, 4)), (6, (4, 4), (2, 3)), (1, (1, 1), (3, 3))])
def test_universality_with_the_smaller_of_tile_and_tiles(layers, grid, tile):
    stack = randn(layers, grid[0] * tile[0], grid[1] * tile[1])
    enough = min(tile[0] * tile[1], layers * grid[0] * grid[1])
    for rank, exact in ((enough, True), (max(enough - 1, 1), enough == 1)):
        best = best_templates([stack], tile, rank)
        made = compose(project(stack, best), best)
        assert torch.allclose(made, stack, atol=1e-10) == exact


def test_rank_and_norms_are_products():
    s, t = randn(4, 2) @ randn(2, 5), randn(3, 3)  # of ranks 2 and 3
    w, matrix_norm = compose(s[None, None], t[None])[0], torch.linalg.matrix_norm
    assert torch.linalg.matrix_rank(w) == 6
    for order in ("fro", 2):
        assert matrix_norm(w, order) == pytest.approx((matrix_norm(s, order) * matrix_norm(t, order)).item())
    assert torch.linalg.matrix_rank(compose(randn(1, 1, 6, 6), randn(1, 5, 5))[0]) == 30  # 61 numbers, full rank of 30


def test_factors_bound_the_spectral_norm():
    scalers, templates = randn(4, 3, 3), randn(4, 5, 5)
    whole = compose(scalers[None], templates)[0]
    bound = (torch.linalg.matrix_norm(scalers, 2) * torch.linalg.matrix_norm(templates, 2)).sum()
    assert torch.linalg.matrix_norm(whole, 2) <= bound


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_counts_are_those_of_the_network(size):
    net, plan = net_of(size), MODELS.get("dt").plan(16)
    bank = TemplateBank.from_plan(plan, 8)
    composed = WeiT(net, bank, plan)
    counted = count_numbers(plan.layout(net), 8)
    assert counted["dense"] == sum(p.numel() for p in net.parameters())
    assert counted["scalers"] == sum(p.numel() for p in composed.scalers.parameters())
    assert counted["free"] == sum(p.numel() for p in composed.free.parameters())
    assert counted["templates"] == sum(p.numel() for p in bank.parameters())
    assert compose_flops(plan.layout(net), 8) == 2 * 8 * counted["composed"]  # tiles divide these widths


def table():
    lines = []
    for size in [Size(32, 3), *SIZES]:
        n = count_numbers(MODELS.get("dt").plan(16).layout(net_of(size)), 32)
        share = (n["scalers"] + n["free"]) / n["dense"]
        values = [str(size), *(f"{n[key]:,}" for key in ("dense", "scalers", "free")), f"{share:.0%}"]
        lines.append("| " + " | ".join([*values, f"{n['templates']:,}"]) + " |")
    return "\n".join(lines)


def test_the_table_of_the_document():
    assert table() in (ROOT / "docs" / "theory.md").read_text()


def test_the_bound_holds_and_shrinks_with_the_count():
    torch.manual_seed(0)
    broken, runs, samples, count, bits = 0, 200, 400, 4, 2
    for _ in range(runs):  # a class of 2^8 predictors with expected losses of their own; the samples are coin throws
        expected = torch.rand(2 ** (count * bits))
        seen = (torch.rand(samples, len(expected)) < expected).float().mean(0)
        broken += bool((expected - seen > occam_bound(count, samples, bits, 0.05)).any())
    assert broken <= 0.05 * runs
    assert occam_bound(100, 1000) / occam_bound(400, 1000) == pytest.approx(0.5, rel=1e-3)
    assert occam_bound(10, 1000, largest=4) == 4 * occam_bound(10, 1000)
