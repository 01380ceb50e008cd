"""Activation checkpointing, inside a composed network and around it: gradients equal those without it."""

import copy

import pytest
import torch
from conftest import small_inputs, small_net
from torch import nn
from torch.utils.checkpoint import checkpoint

from weit_rl import Plan, TemplateBank, UserError, WeiT
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.skeleton import bind_weights, skeleton
from weit_rl.core.stacked_weights import stack_weights
from weit_rl.models import MODELS


class Blocks(nn.Module):
    """Blocks that run again in the backward pass, in the way that ``reentrant`` selects."""

    def __init__(self, reentrant=None, width=16):
        super().__init__()
        torch.manual_seed(0)
        self.reentrant, self.width = reentrant, width
        self.first = nn.Linear(6, width)
        blocks = (nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU()) for _ in range(3))
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.MultiheadAttention(width, 2, batch_first=True)

    def attend(self, x):
        return self.last(x, x, x)[0]

    def forward(self, x):
        x = self.first(x)
        for block in (*self.blocks, self.attend):
            x = block(x) if self.reentrant is None else checkpoint(block, x, use_reentrant=self.reentrant)
        return x


X = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))


def composed(net, constraint="kronecker", tile=8):
    plan = Plan.infer(net, tile=tile)
    return WeiT(net, TemplateBank.from_plan(plan, 3, constraint), plan)


def gradients(net, *inputs, run=None):
    for parameter in net.parameters():
        parameter.grad = None
    (run or net)(*inputs).square().sum().backward()
    return {name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("constraint", CONSTRAINTS.names())
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_inside_gives_the_same_gradients(reentrant, constraint):
    wanted = gradients(composed(Blocks(), constraint), X)
    net = composed(Blocks(reentrant), constraint)
    assert wanted and all(grad.abs().sum() > 0 for name, grad in wanted.items() if "scalers" in name)
    torch.testing.assert_close(gradients(net, X), wanted)
    torch.testing.assert_close(gradients(net, X), wanted)  # and again


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_around_gives_the_same_gradients(reentrant):
    net, x = composed(Blocks()), X.clone().requires_grad_()
    wanted = gradients(net, x)
    found = gradients(net, x, run=lambda x: checkpoint(net, x, use_reentrant=reentrant))
    torch.testing.assert_close(found, wanted)


def test_tensors_saved_by_the_operators_are_read_once():
    """Check that saved tensors are read once: under checkpointing a second reading would fail."""
    net = composed(Blocks())
    run = lambda x: sum(p.square().sum() for p in net.compose().values()) * x  # noqa: E731
    one = checkpoint(run, torch.ones(()), use_reentrant=False)
    scalers = list(net.scalers.values())
    first = torch.autograd.grad(one, scalers, create_graph=True)
    checkpointed = checkpoint(lambda *g: sum(x.square().sum() for x in g), *first, use_reentrant=False)
    torch.autograd.grad(checkpointed, scalers)


def test_two_forwards_before_a_backward_and_no_grad_in_between():
    net = composed(Blocks(False))
    wanted = gradients(composed(Blocks()), X, run=None)
    losses = [net(X).square().sum() for _ in range(2)]
    with torch.no_grad():
        net.eval()(X)
    sum(losses).backward()
    found = {name: parameter.grad / 2 for name, parameter in net.named_parameters() if parameter.grad is not None}
    torch.testing.assert_close(found, wanted)


def test_densenet_that_saves_memory():
    torchvision = pytest.importorskip("torchvision")
    grads = []
    for saves in (False, True):
        torch.manual_seed(0)
        plain = torchvision.models.DenseNet(8, (2, 2), 16, memory_efficient=saves, num_classes=4)
        net = composed(plain)
        grads.append(gradients(net, torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))))
    torch.testing.assert_close(*grads)


def test_timm_networks_that_save_memory():
    timm = pytest.importorskip("timm")
    grads = []
    for saves in (False, True):
        torch.manual_seed(0)
        sizes = {"embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 4}
        plain = timm.models.VisionTransformer(16, 8, class_token=False, global_pool="avg", pos_embed="none", **sizes)
        net = composed(plain)
        net.set_grad_checkpointing(saves)
        grads.append(gradients(net, torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))))
    torch.testing.assert_close(*grads)


def test_flags_alone_change_nothing_without_gradients():
    net, plain = composed(Blocks(False)), composed(Blocks())
    with torch.no_grad():
        assert torch.equal(net.eval()(X), plain.eval()(X))


def test_a_skeleton_without_weights_is_refused_clearly():
    plain = Blocks(False)
    plan = Plan.infer(plain, tile=8)
    weights = {key: x.requires_grad_() for key, x in stack_weights(plain, plan).items()}
    loss = bind_weights(skeleton(plain), plan.layout(plain), weights)(X).square().sum()
    with pytest.raises(UserError, match="switch off activation checkpointing"):
        loss.backward()


def test_a_copy_recomputes_with_its_own_weights():
    net = composed(Blocks(False))
    other = copy.deepcopy(net)
    for parameter in net.parameters():
        parameter.data.zero_()
    torch.testing.assert_close(gradients(other, X), gradients(composed(Blocks()), X))


def test_our_own_policies_with_checkpointing_by_blocks():
    plan = MODELS.get("dt").plan(8)
    net = WeiT(small_net(), TemplateBank.from_plan(plan, 4), plan).eval()
    wanted = gradients(net, *small_inputs())
    for block in net.net.blocks:
        block.forward = _again(block.forward)
    torch.testing.assert_close(gradients(net, *small_inputs()), wanted)


def _again(forward):
    return lambda *args: checkpoint(forward, *args, use_reentrant=False)
