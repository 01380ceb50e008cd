"""Resizing: prefixes, relative depth, and widening that keeps the function and lets copies diverge."""

import pytest
import torch
from conftest import small_inputs, small_net

from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.resize import draw_shares, layer_map, resize
from weit_rl.core.slot_tensors import stack, unstack
from weit_rl.models import MODELS

PLANS = {name: MODELS.get(name).plan(8) for name in MODELS.names()}


def resized(model, source, target, generator=None):
    plan = PLANS[model]
    old, new = plan.layout(source), plan.layout(target)
    tensors = resize(stack(dict(source.named_parameters()), old), old, new, generator=generator)
    target.load_state_dict({**target.state_dict(), **unstack(tensors, new)})
    return target


@pytest.mark.parametrize("model", MODELS.names())
@pytest.mark.parametrize("ratio", [2, 3])
def test_widening_by_an_integer_keeps_the_function(model, ratio):
    source = small_net(model, 16).double()
    for p in source.parameters():  # biases and norms away from 0 and 1, or a forgotten one would not show
        torch.nn.init.normal_(p, std=0.3)
    target = resized(model, source, small_net(model, 16 * ratio, seed=5).double())
    inputs = [x.double() if x.is_floating_point() else x for x in small_inputs(model)]
    torch.testing.assert_close(target(*inputs), source(*inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CONSTRAINTS.names())
def test_a_composed_network_keeps_its_function_too(name):
    plan, source = PLANS["dt"], small_net(width=16)
    bank = TemplateBank.from_plan(plan, rank=6, constraint=name)
    net = WeiT(source, bank, plan)
    bank.source = {f"own.{k}": v.detach() for k, v in net.own().items()}
    wide = network_of_size(bank, source, small_net(width=32, seed=4), plan)
    torch.testing.assert_close(wide(*small_inputs()), net(*small_inputs()), rtol=1e-5, atol=1e-5)


def test_narrowing_is_the_prefix_per_fused_part():
    source, target = small_net(width=32), small_net(width=16, seed=3)
    resized("dt", source, target)
    big, small = source.blocks[1].qkv.weight, target.blocks[1].qkv.weight
    for part in range(3):
        assert torch.equal(small[16 * part : 16 * part + 16], big[32 * part : 32 * part + 16, :16])
    assert torch.equal(target.embed_time.weight, source.embed_time.weight[:, :16])


def test_cutting_weights_and_cutting_scalers_agree():
    """Check that the masked step, which cuts weights, and a new size, which cuts scalers, give the same network."""
    plan, source = PLANS["dt"], small_net(width=32, depth=5)
    bank = TemplateBank.from_plan(plan, rank=3)
    net = WeiT(source, bank, plan)
    bank.source = {f"own.{k}": v.detach() for k, v in net.own().items()}
    target = small_net(width=16, depth=3)
    layout = plan.layout(target)
    cut = unstack(resize(net.weights(), net.layout, layout), layout)
    for name, weight in network_of_size(bank, source, target, plan).compose().items():
        torch.testing.assert_close(weight, cut[name])


def test_depth_goes_by_relative_position():
    assert layer_map(6, 3) == [0, 3, 5]
    assert layer_map(6, 2) == [0, 5]
    assert layer_map(3, 6) == [0, 0, 1, 1, 2, 2]
    assert layer_map(4, 1) == [0]
    assert layer_map(5, 5) == [0, 1, 2, 3, 4]
    source, target = small_net(depth=2), small_net(depth=3, seed=9)
    resized("dt", source, target)
    assert torch.equal(target.blocks[2].fc1.weight, source.blocks[1].fc1.weight)


@pytest.mark.parametrize(("old", "new", "block"), [(4, 8, 1), (4, 5, 1), (2, 9, 1), (16, 40, 8), (3, 3, 1)])
def test_shares_of_one_entry_sum_to_one_and_differ(old, new, block):
    values = draw_shares(old, new, block, torch.Generator().manual_seed(0))
    assert len(values) == new
    for entry in range(old):
        own = values[entry::old]
        assert float(own.sum()) == pytest.approx(1)
        assert len(own.unique()) == len(own)


def rank_of(net):
    return sum(int(torch.linalg.matrix_rank(block.fc1.weight, rtol=1e-4)) for block in net.blocks)


def test_copies_part_and_the_rank_grows():
    """Check that after 25 steps no copies are equal and the widened matrices have gained rank."""
    source = small_net(width=16)
    net = resized("dt", source, small_net(width=32, seed=2))
    before, inputs = rank_of(net), small_inputs(batch=32)
    goal = torch.tanh(inputs[0][..., :2])
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(25):
        optimizer.zero_grad()
        ((net(*inputs) - goal) ** 2).mean().backward()
        optimizer.step()
    assert before == rank_of(source) == 32
    assert rank_of(net) > 1.5 * before
    for block in net.blocks:
        for name in ("qkv", "out", "fc1", "fc2"):
            weight = getattr(block, name).weight
            half = weight.shape[1] // 2
            assert not torch.isclose(weight[:, :half], weight[:, half:]).all(dim=0).any(), name


def test_resize_is_differentiable():
    plan, source = PLANS["dt"], small_net(width=32, depth=3)
    layout, small = plan.layout(source), plan.layout(small_net(width=16, depth=2))
    full = stack(dict(source.named_parameters()), layout)
    sum(t.sum() for t in resize(full, layout, small).values()).backward()
    assert (
        source.blocks[1].fc1.weight.grad is None or not source.blocks[1].fc1.weight.grad.any()
    )  # layer 1 was left out
    assert source.blocks[2].fc1.weight.grad[:64, :16].all()
    assert not source.blocks[2].fc1.weight.grad[64:].any()


def test_a_width_that_the_tile_does_not_divide_cannot_grow():
    """Check the refusal: a repeated cropped tile would shift the copies against the free parameters."""
    plan = MODELS.get("dt").plan(12)
    bank = TemplateBank.from_plan(plan, rank=3)
    net = WeiT(small_net(width=16), bank, plan)
    bank.source = {f"own.{k}": v.detach() for k, v in net.own().items()}
    with pytest.raises(UserError, match="tiles of 12"):
        network_of_size(bank, small_net(width=16), small_net(width=32), plan)
    network_of_size(bank, small_net(width=16), small_net(width=8), plan)  # narrower is a crop, which is fine


def test_an_axis_no_size_changes_is_not_resized():
    with pytest.raises(UserError, match="fixed"):
        resized("dt", small_net(context=4), small_net(context=6))


def test_every_copy_parts_not_only_the_inputs():
    source = small_net(width=16)
    net = resized("dt", source, small_net(width=32, seed=2))
    inputs = small_inputs(batch=32)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    for _ in range(25):
        optimizer.zero_grad()
        ((net(*inputs) - torch.tanh(inputs[0][..., :2])) ** 2).mean().backward()
        optimizer.step()
    for name, p in net.named_parameters():
        if name.startswith("blocks") and "qkv" not in name:  # qkv's parts are tested by columns above
            half = p.shape[0] // 2
            assert (p[:half] != p[half:]).reshape(half, -1).any(dim=1).all(), name
