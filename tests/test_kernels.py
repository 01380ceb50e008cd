"""The composition operator on a CPU: its weights and gradients, in any dtype and however they are cut into pieces."""

import pytest
import torch
from shared_kernels import BATCHES, FORMS, ROLES, TOLERANCE, assert_alike, by_kron, expected, factors
from torch.utils.flop_counter import FlopCounterMode

from weit_rl.kernels import cpu_chunked_products
from weit_rl.kernels.cpu_chunked import compose_cpu_chunked, gradients_cpu_chunked
from weit_rl.kernels.cpu_chunked_pieces import pieces
from weit_rl.kernels.operator import compose
from weit_rl.kernels.reference import kronecker_sum
from weit_rl.kernels.tiling import tiling


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_weights_and_gradients_are_those_of_torch_kron(form, dtype):
    scalers, templates = factors(*FORMS[form], dtype=dtype)
    weights, upstream, grads = expected(scalers, templates)
    made = compose(scalers, templates, ROLES)
    assert all(w.dtype == dtype for w in made)
    assert_alike(made, weights, dtype)
    upstream = [g.to(dtype) for g in upstream]
    assert_alike(torch.autograd.grad(made, [*scalers, *templates], upstream), grads, dtype)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_dtype_asked_for_is_written(device):
    scalers, templates = ([x.to(device, torch.float32) for x in part] for part in factors((2, 3), (4, 2)))
    made = compose(scalers, templates, ROLES, torch.bfloat16)
    assert [w.dtype for w in made] == [torch.bfloat16] * 4
    assert [tuple(w.shape) for w in made] == [(8 * batch, 6) for batch in BATCHES]


@pytest.mark.parametrize("limit", [1, 7, 60, 200])
def test_any_cut_into_pieces_gives_the_same(limit, monkeypatch):
    monkeypatch.setattr(cpu_chunked_products, "pieces", lambda n, batch, form, most=limit: pieces(n, batch, form, most))
    for form in FORMS:
        scalers, templates = factors(*FORMS[form])
        weights, upstream, grads = expected(scalers, templates)
        with torch.no_grad():
            assert_alike(compose_cpu_chunked(scalers, templates, ROLES), weights, torch.float64)
            assert_alike(gradients_cpu_chunked(upstream, scalers, templates, ROLES, True, True), grads, torch.float64)


def test_few_templates_write_in_place(monkeypatch):
    monkeypatch.setattr(cpu_chunked_products, "LONG_ROW", 1)
    for form in FORMS:
        scalers, templates = factors(*FORMS[form])
        with torch.no_grad():
            assert_alike(compose_cpu_chunked(scalers, templates, ROLES), by_kron(scalers, templates), torch.float64)


def test_pieces_cover_every_weight_once():
    form = tiling((5, 3), (4, 2))
    for entries, batch, limit in [(1, 1, 10), (4, 3, 1000), (3, 2, 130), (2, 5, 300), (7, 1, 24)]:
        seen = [
            (weight, row)
            for piece in pieces(entries, batch, form, limit)
            for weight in range(piece.first, piece.first + piece.number)
            for row in range(piece.start, piece.start + piece.rows)
        ]
        assert sorted(seen) == [(weight, row) for weight in range(entries * batch) for row in range(5)]


def test_bfloat16_products_stay_close():
    """Check ``precision=medium``, for which torch multiplies matrices in another way."""
    scalers, templates = factors((8, 8), (16, 16), rank=32, dtype=torch.float32)
    weights, upstream, grads = expected(scalers, templates)
    torch.set_float32_matmul_precision("medium")
    try:
        made = compose(scalers, templates, ROLES)
        ours = torch.autograd.grad(made, [*scalers, *templates], [g.float() for g in upstream])
    finally:
        torch.set_float32_matmul_precision("highest")
    assert_alike(made, weights, torch.bfloat16)
    assert_alike(ours, grads, torch.bfloat16)


def test_results_share_no_memory_and_runs_repeat():
    scalers, templates = factors((2, 3), (4, 2), dtype=torch.float32)
    made = [torch.autograd.grad(compose(scalers, templates, ROLES), [*scalers, *templates],
                                [torch.ones(8 * b, 6) for b in BATCHES]) for _ in range(2)]  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))
    every = [*compose(scalers, templates, ROLES), *made[0]]
    assert len({x.untyped_storage().data_ptr() for x in every}) == len(every)


def test_entries_that_do_not_fit_are_named():
    scalers, templates = factors((2, 3), (4, 2))
    with pytest.raises(ValueError, match=r"entry 1.*\(3, 3, 2, 3\).*\(2, 4, 2\)"):
        compose(scalers[:2], [templates[0], templates[1][:2]])
    with pytest.raises(ValueError, match="entry 3: role 2"):
        compose(scalers, templates, [0, 0, 1, 2])
    with pytest.raises(ValueError, match="4 entries"):
        compose(scalers, templates, [0])
    assert compose([], []) == []


def test_the_reference_takes_what_is_no_matrix_of_tiles():
    assert tiling(*FORMS["no matrix of tiles"]) is None
    assert tiling((2, 3, 1, 1), (4, 2, 3, 3)) == (2, 4, 3, 18)
    assert tiling((4, 1, 1, 1), (2, 1, 3, 3)) == (1, 1, 4, 18)
    scalers, templates = factors((2, 3), (4, 2))
    torch.testing.assert_close(
        compose(scalers, templates, ROLES)[1].view(3, 8, 6), kronecker_sum(scalers[1], templates[1])
    )


def test_flops_are_counted_as_those_of_the_products():
    s, t = torch.randn(3, 4, 2, 5, requires_grad=True), torch.randn(4, 8, 6, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        (made,) = compose([s], [t])
        assert counter.get_total_flops() == (once := 2 * (3 * 2 * 5) * 4 * (8 * 6))
        made.sum().backward()
    assert counter.get_total_flops() == 3 * once
