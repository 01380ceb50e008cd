"""The composition operator on a GPU; test_gpu_backend.py checks the same kernels without one."""

import warnings

import pytest
import torch
from shared_kernels import DRAWN, FIXED, ROLES, assert_alike, expected, factors

from weit_rl.kernels.gpu_backend import gpu_backend
from weit_rl.kernels.operator import compose

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
MIXED = (torch.float64, torch.bfloat16, 5, (2, 3), (4, 8))  # Triton's interpreter rounds float64 to bfloat16 wrongly
LARGE = [(dtype, None, 32, (4, 12), (32, 32)) for dtype in (torch.float64, torch.float32, torch.bfloat16)]


def on_device(tensors):
    return [t.detach().cuda().requires_grad_() for t in tensors]


@pytest.mark.parametrize("case", [*FIXED, *LARGE, *DRAWN, MIXED], ids=str)
def test_weights_and_gradients_are_those_of_torch_kron(case):
    dtype, asked, rank, grid, tile = case
    scalers, templates = factors(grid, tile, rank, dtype)
    weights, upstream, grads = expected(scalers, templates)
    own, shared = on_device(scalers), on_device(templates)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning says that the kernels do not run
        made = compose(own, shared, ROLES, asked)
    upstream = [g.to(w) for g, w in zip(upstream, made, strict=True)]
    ours = torch.autograd.grad(made, [*own, *shared], upstream)
    assert_alike([w.cpu() for w in made], weights, asked or dtype)
    assert_alike([g.cpu() for g in ours], grads, asked or dtype)


def test_float32_products_are_as_precise_as_torch_is_asked_to_be():
    case = factors((4, 12), (32, 32), 32, torch.float32)
    scalers, templates = ([t.detach().cuda() + 1e-4 for t in part] for part in case)  # values that TF32 rounds
    exact = compose([s.double() for s in scalers], [t.double() for t in templates], ROLES)
    apart = {}
    try:
        for precision in ("highest", "high"):
            torch.set_float32_matmul_precision(precision)
            made = compose(scalers, templates, ROLES)
            apart[precision] = max(float((a - b).norm() / b.norm()) for a, b in zip(made, exact, strict=True))
    finally:
        torch.set_float32_matmul_precision("highest")
    assert apart["highest"] < 1e-6 < apart["high"] < 2e-3


def test_first_and_second_derivatives_and_registration():
    scalers, templates = map(on_device, factors((2, 3), (4, 2)))

    def composed(*tensors):
        return tuple(compose(tensors[:4], tensors[4:], ROLES))

    assert torch.autograd.gradcheck(composed, (*scalers, *templates))
    assert torch.autograd.gradgradcheck(composed, (*scalers, *templates))
    torch.library.opcheck(torch.ops.weit_rl.compose, (scalers, templates, ROLES))


def test_compiled_whole_with_the_same_gradients():
    scalers, templates = map(on_device, factors((2, 3), (16, 16), 8, torch.float32))

    def loss():
        return sum((w.sin() ** 2).sum() for w in compose(scalers, templates, ROLES))

    plain = torch.autograd.grad(loss(), [*scalers, *templates])
    whole = torch.autograd.grad(torch.compile(loss, fullgraph=True)(), [*scalers, *templates])
    for a, b in zip(plain, whole, strict=True):
        torch.testing.assert_close(a, b)


def test_recorded_as_a_graph_without_a_host_sync():
    scalers, templates = map(on_device, factors((2, 3), (16, 16), 8, torch.float32))

    def step():
        made = compose(scalers, templates, ROLES)
        return [*made, *torch.autograd.grad(made, [*scalers, *templates], made)]

    step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = step()
    with torch.no_grad():
        scalers[0].mul_(2)
        templates[1].add_(1)
    graph.replay()
    for ours, theirs in zip(recorded, step(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_runs_repeat_bit_for_bit():
    scalers, templates = map(on_device, factors((40, 40), (16, 16), 8, torch.bfloat16))

    def run():
        made = compose(scalers, templates, ROLES)
        return [*made, *torch.autograd.grad(made, [*scalers, *templates], made)]

    first = run()
    assert all(torch.equal(a, b) for _ in range(3) for a, b in zip(first, run(), strict=True))


def test_the_kernels_are_what_runs():
    assert gpu_backend(torch.device("cuda:0")).compose.__name__ == "compose_triton"
