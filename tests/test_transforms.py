"""The composition under forward-mode differentiation, vmap, and the function transforms of torch.func."""

import pytest
import torch
from shared_kernels import FORMS, ROLES, call, factors
from test_compose import by_kron
from torch import func, nn

from weit_rl import Plan, TemplateBank, WeiT
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.kernels.cpu_chunked import compose_cpu_chunked, gradients_cpu_chunked
from weit_rl.kernels.reference import compose_reference, gradients_reference

COMPOSE, BACKWARD = torch.ops.weit_rl.compose, torch.ops.weit_rl.compose_backward
SMALL = ["single row", "depthwise convolution", "no matrix of tiles"]


def one(form="linear", batch=2):
    """Return an entry's scalers and its templates, detached."""
    scalers, templates = factors(*FORMS[form], rank=2, batches=(batch,))
    return scalers[0].detach(), templates[0].detach()


def operator(s, t):
    return COMPOSE([s], [t], [0], None)[0]


def wanted(s, t):
    return by_kron(s, t).flatten(0, 1)


@pytest.mark.parametrize("form", SMALL)
def test_every_check_of_gradcheck(form):
    function, arguments = call(*factors(*FORMS[form], rank=2, batches=(1, 2)))
    assert torch.autograd.gradcheck(
        function, arguments, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )


def test_every_check_of_the_gradients_own_gradients():
    function, arguments = call(*factors((2, 1), (1, 3), rank=2, batches=(1, 2)))
    checks = {"check_fwd_over_rev": True, "check_rev_over_rev": True, "check_batched_grad": True}
    assert torch.autograd.gradgradcheck(function, arguments, **checks)


@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_every_check_of_the_backward_operator(wanted):
    scalers, templates = factors((2, 1), (1, 3), rank=2, batches=(1, 2))
    grads = [torch.randn(2 * b, 3, dtype=torch.float64).requires_grad_() for b in (1, 2)]

    def function(*x):
        return tuple(BACKWARD(x[:2], x[2:4], x[4:], ROLES[:2], *wanted))

    checks = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}
    assert torch.autograd.gradcheck(function, (*grads, *scalers, *templates), **checks)


TRANSFORMS = {
    "jvp": lambda f, s, t: func.jvp(f, (s, t), (s.cos(), t.sin())),
    "vjp": lambda f, s, t: func.vjp(f, s, t)[1](f(s, t).cos()),
    "grad": lambda f, s, t: func.grad(lambda *x: f(*x).square().sum(), (0, 1))(s, t),
    "grad of grad": lambda f, s, t: func.grad(lambda x: func.grad(lambda y: f(x, y).pow(3).sum())(t).sum())(s),
    "jacrev": lambda f, s, t: func.jacrev(f, (0, 1))(s, t),
    "jacfwd": lambda f, s, t: func.jacfwd(f, (0, 1))(s, t),
    "hessian": lambda f, s, t: func.hessian(lambda *x: f(*x).pow(3).sum(), (0, 1))(s, t),
    "vmap": lambda f, s, t: func.vmap(f, (0, None))(torch.stack([s, 2 * s]), t),
    "vmap of both": lambda f, s, t: func.vmap(f, (1, 0), 1)(torch.stack([s, 2 * s], 1), torch.stack([t, -t])),
    "vmap of vmap": lambda f, s, t: func.vmap(func.vmap(f, (None, 0)), (0, None))(
        torch.stack([s, 2 * s]), torch.stack([t, -t])
    ),
    "vmap of grad": lambda f, s, t: func.vmap(func.grad(lambda *x: f(*x).square().sum(), 1), (0, None))(
        torch.stack([s, 2 * s]), t
    ),
    "grad of vmap": lambda f, s, t: func.grad(
        lambda x: func.vmap(f, (0, None))(torch.stack([x, 2 * x]), t).square().sum()
    )(s),
}


@pytest.mark.parametrize("form", ["vector", "linear", "depthwise convolution"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_of_the_operator_are_those_of_torch_kron(transform, form):
    found, theirs = (TRANSFORMS[transform](f, *one(form)) for f in (operator, wanted))
    torch.testing.assert_close(found, theirs)


@pytest.mark.parametrize("dtypes", [(torch.float32, None), (torch.bfloat16, None), (torch.float32, torch.float16)])
@pytest.mark.parametrize("form", FORMS)
def test_the_reference_and_the_cpu_backend_agree(form, dtypes):
    scalers, templates = factors(*FORMS[form], dtype=dtypes[0])
    scalers, templates = [s.detach() for s in scalers], [t.detach() for t in templates]
    made = compose_reference(scalers, templates, ROLES, dtypes[1])
    torch.testing.assert_close(made, compose_cpu_chunked(scalers, templates, ROLES, dtypes[1]))
    for of in ((True, True), (True, False), (False, True)):
        arguments = ([w.sign() for w in made], scalers, templates, ROLES, *of)
        torch.testing.assert_close(gradients_reference(*arguments), gradients_cpu_chunked(*arguments))


@pytest.mark.parametrize("constraint", CONSTRAINTS.names())
def test_transforms_of_a_composed_network(constraint):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 8))
    plan = Plan.infer(network, tile=8)
    net = WeiT(network, TemplateBank.from_plan(plan, 3, constraint), plan).double()
    parameters, x = {name: p.detach() for name, p in net.named_parameters()}, torch.randn(3, 12, dtype=torch.float64)

    def loss(parameters, x):
        return func.functional_call(net, parameters, (x,)).square().sum()

    each = func.vmap(func.grad(loss), (None, 0))(parameters, x[:, None])
    full = {name: parameter for name, parameter in net.named_parameters() if parameter.numel()}
    assert len(full) > 3  # the bank of constraint identity is empty
    for name, parameter in full.items():
        rows = [torch.autograd.grad(net(row[None]).square().sum(), parameter)[0] for row in x]
        torch.testing.assert_close(each[name], torch.stack(rows))
    tangent = func.jvp(lambda p: loss(p, x), (parameters,), (parameters,))[1]
    assert tangent == pytest.approx(float(sum((g.sum(0) * parameters[name]).sum() for name, g in each.items())))
