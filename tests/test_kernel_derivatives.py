"""The composition operator under autograd, torch.func and torch.compile."""

import shutil

import pytest
import torch
from shared_kernels import BATCHES, FORMS, ROLES, call, factors

from weit_rl.kernels.operator import compose


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
