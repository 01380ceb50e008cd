"""The composition operator and its backends: derivatives, compilation, pieces, and GPU kernels without a GPU."""

import os
import random
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from weit_rl.kernels import cpu_chunked_products, gpu_backend
from weit_rl.kernels.cpu_chunked import compose_cpu_chunked, gradients_cpu_chunked
from weit_rl.kernels.cpu_chunked_pieces import pieces
from weit_rl.kernels.operator import compose
from weit_rl.kernels.reference import kronecker_sum
from weit_rl.kernels.tiling import tiling

HERE = Path(__file__).parent
FORMS = {  # grid, tile: one to four axes
    "vector": ((3,), (4,)),
    "linear": ((2, 3), (4, 2)),
    "single row": ((1, 4), (3, 3)),
    "whole weight": ((1, 1), (3, 5)),
    "rows of templates": ((4, 1), (1, 6)),
    "numbers": ((2, 3), (1, 1)),
    "1-D convolution": ((2, 3, 1), (3, 2, 5)),
    "dense convolution": ((2, 3, 1, 1), (4, 2, 3, 3)),
    "depthwise convolution": ((4, 1, 1, 1), (2, 1, 3, 3)),
    "no matrix of tiles": ((2, 3, 2), (4, 2, 3)),
}
BATCHES, ROLES = (1, 3, 1, 2), [0, 1, 0, 0]  # fused parts or layers of an entry; entries 0, 2, 3 share templates
TOLERANCE = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-10},
    torch.float32: {"rtol": 1e-4, "atol": 1e-4},
    torch.bfloat16: {"rtol": 2e-2, "atol": 2e-2},
    torch.float16: {"rtol": 4e-3, "atol": 4e-3},
}

FIXED = [  # dtype of factors and of weights, templates, grid, tile
    (torch.float64, None, 3, (2, 3), (4, 2)),
    (torch.float64, None, 17, (2, 3, 1, 1), (4, 2, 3, 3)),
    (torch.float64, None, 1, (4, 1, 1, 1), (2, 1, 3, 3)),
    (torch.float64, None, 70, (3, 5), (8, 16)),
    (torch.float64, None, 2, (2, 3, 2), (4, 2, 3)),  # by the reference
    (torch.float32, None, 5, (3,), (4,)),
    (torch.bfloat16, None, 4, (3, 2), (8, 8)),
    (torch.float16, None, 4, (2, 2), (16, 16)),
    (torch.float32, torch.bfloat16, 4, (3, 2), (8, 8)),
]


def drawn(seed):
    """Draw a random case in float64: dtypes, rank, grid and tile."""
    rng = random.Random(seed)
    axes = rng.choice((1, 2, 2, 4))
    ends = (1,) * (axes - 2), tuple(rng.choice((1, 3)) for _ in range(axes - 2))
    grid, tile = (
        (*(rng.randint(1, high) for _ in range(min(axes, 2))), *end) for high, end in zip((5, 9), ends, strict=True)
    )
    return torch.float64, None, rng.randint(1, 20), grid, tile


DRAWN = [drawn(seed) for seed in range(4)]


def factors(grid, tile, rank=3, dtype=torch.float64, batches=BATCHES, seed=0):
    """Return scalers of all entries and templates of two roles, with values that every dtype represents exactly."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        values = torch.randint(-8, 9, shape, generator=generator).double() / 8
        return values.to(dtype).requires_grad_()

    return [draw(batch, rank, *grid) for batch in batches], [draw(rank, *tile) for _ in range(2)]


def by_kron(scalers, templates, roles=ROLES):
    """Compose weights by definition, in float64; autograd gives their gradients."""
    return [
        torch.cat([sum(torch.kron(a, b) for a, b in zip(one, templates[role].double(), strict=True)) for one in s])
        for s, role in zip((s.double() for s in scalers), roles, strict=True)
    ]


def expected(scalers, templates, roles=ROLES, seed=1):
    """Return weights, an upstream gradient and the gradients of all factors, in float64."""
    weights, generator = by_kron(scalers, templates, roles), torch.Generator().manual_seed(seed)
    upstream = [torch.randint(-4, 5, w.shape, generator=generator).double() / 4 for w in weights]
    return weights, upstream, torch.autograd.grad(weights, [*scalers, *templates], upstream)


def assert_alike(made, wanted, dtype):
    for ours, theirs in zip(made, wanted, strict=True):
        assert ours.shape == theirs.shape and ours.is_contiguous()
        scale = float(theirs.detach().abs().max()) + 1e-12
        torch.testing.assert_close(ours.double() / scale, theirs.double() / scale, **TOLERANCE[dtype])


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


def call(scalers, templates):
    """Return the operator as a function of tensors, and its arguments."""
    number = len(scalers)
    return lambda *x: tuple(compose(x[:number], x[number:], ROLES[:number])), (*scalers, *templates)


@pytest.mark.parametrize("form", ["single row", "depthwise convolution", "no matrix of tiles"])
def test_first_derivatives(form):
    assert torch.autograd.gradcheck(*call(*factors(*FORMS[form], rank=2, batches=BATCHES[:2])))


def test_second_derivatives():
    function, arguments = call(*factors((2, 1), (1, 3), rank=2, batches=BATCHES[:2]))
    assert torch.autograd.gradgradcheck(function, arguments)
    for templates in arguments[2:]:  # frozen: the other branch
        templates.requires_grad_(False)
    assert torch.autograd.gradgradcheck(function, arguments)


def test_the_operators_are_registered_in_full():
    scalers, templates = factors((2, 3), (4, 2))
    torch.library.opcheck(torch.ops.weit_rl.compose, (scalers, templates, ROLES, torch.float32))
    grads = [torch.randn_like(w).requires_grad_() for w in compose(scalers, templates, ROLES)]
    for wanted in ((True, True), (False, True)):
        torch.library.opcheck(torch.ops.weit_rl.compose_backward, (grads, scalers, templates, ROLES, *wanted))


def test_transforms_of_torch_func():
    scalers, templates = factors((2, 3), (4, 2))
    own, shared = scalers[1].detach(), templates[1].detach()

    def energy(s):
        return compose([s], [shared])[0].square().sum()

    torch.testing.assert_close(torch.func.grad(energy)(own), torch.autograd.functional.jacobian(energy, own))
    assert torch.func.jvp(energy, (own,), (own,))[1] == pytest.approx(2 * float(energy(own)))
    torch.testing.assert_close(torch.vmap(energy)(torch.stack([own, 2 * own]))[1], 4 * energy(own))


@pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")), reason="no C compiler")
@pytest.mark.slow
def test_compiled_whole_with_the_same_gradients(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # a cache would not see that an operator has changed
    scalers, templates = factors((2, 3), (4, 2), dtype=torch.float32)

    def loss(*x):
        return sum((w * w).sum() for w in compose(x[:2], x[2:], ROLES[:2]))

    arguments = [*scalers[:2], *templates]
    eager, whole = loss(*arguments), torch.compile(loss, fullgraph=True)(*arguments)
    torch.testing.assert_close(whole, eager)
    for ours, theirs in zip(*(torch.autograd.grad(x, arguments) for x in (whole, eager)), strict=True):
        torch.testing.assert_close(ours, theirs)


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


@pytest.mark.parametrize(
    "error", [RuntimeError("Failed to find C compiler.\nmore"), ImportError("No module named triton")]
)
def test_without_kernels_the_reference_runs_and_says_so_once(error, monkeypatch):
    def fails(*_):
        raise error

    monkeypatch.setattr(torch.cuda, "get_device_capability", fails)
    gpu_backend.gpu_backend.cache_clear()
    scalers, templates = factors((2, 3), (4, 2))
    with pytest.warns(UserWarning, match=str(error).splitlines()[0]) as seen:
        made = gpu_backend.compose_on_gpu([s.detach() for s in scalers], [t.detach() for t in templates], ROLES)
    assert len(seen) == 1 and "\n" not in str(seen[0].message)
    assert_alike(made, by_kron(scalers, templates), torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gpu_backend.compose_on_gpu([s.detach() for s in scalers], [t.detach() for t in templates], ROLES)
    gpu_backend.gpu_backend.cache_clear()


def run_apart(name, **environment):
    """Run a file of this folder in its own process, because Triton reads its environment at import."""
    pytest.importorskip("triton", reason="Triton is only for Linux")
    done = subprocess.run(
        [sys.executable, str(HERE / name)],
        cwd=HERE.parent,
        env={**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_gpu_kernels_in_the_interpreter():
    assert "alike" in run_apart("interpreted_kernels.py", TRITON_INTERPRET="1")


@pytest.mark.slow
def test_gpu_kernels_compile_without_spills_to_vector_stores(tmp_path):
    assert "compiled" in run_apart("compiled_kernels.py", TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))


def test_flops_are_counted_as_those_of_the_products():
    from torch.utils.flop_counter import FlopCounterMode

    s, t = torch.randn(3, 4, 2, 5, requires_grad=True), torch.randn(4, 8, 6, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        (made,) = compose([s], [t])
        assert counter.get_total_flops() == (once := 2 * (3 * 2 * 5) * 4 * (8 * 6))
        made.sum().backward()
    assert counter.get_total_flops() == 3 * once
