"""WeiT and the bank: use as a network, sharing between sizes, saving, checks and pickling."""

import copy
import json

import pytest
import torch
from conftest import small_inputs, small_net
from torch import nn

from weit_rl import Plan, TemplateBank, UserError, WeiT
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.parameter_map import Parameters
from weit_rl.core.slot_tensors import unstack
from weit_rl.models import MODELS

PLAN = MODELS.get("dt").plan(8)


def composed(constraint="kronecker", **size):
    return WeiT(small_net(**size), TemplateBank.from_plan(PLAN, 4, constraint), PLAN)


def trained(net, steps=5, parameters=None):
    optimizer = torch.optim.Adam(parameters or net.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        (net(*small_inputs()) ** 2).mean().backward()
        optimizer.step()
    return net


@pytest.mark.parametrize("constraint", CONSTRAINTS.names())
def test_materialize_gives_the_same_plain_network(constraint):
    net = trained(composed(constraint))
    plain = net.materialize()
    assert type(plain) is type(small_net())
    assert {k: v.shape for k, v in plain.state_dict().items()} == {
        k: v.shape for k, v in small_net().state_dict().items()
    }
    torch.testing.assert_close(plain(*small_inputs()), net(*small_inputs()))
    expected = plain(*small_inputs()).detach().clone()
    trained(net)
    assert torch.equal(plain(*small_inputs()), expected)  # independent of bank and scalers


@pytest.mark.parametrize("constraint", CONSTRAINTS.names())
def test_composed_by_layer_and_by_slot_are_the_same(constraint):
    net = composed(constraint, depth=3)
    by_slot = unstack(net.weights(), net.layout)
    for name, weight in net.compose().items():
        torch.testing.assert_close(weight, by_slot[name])


def test_widths_that_tiles_do_not_divide_are_cropped_alike():
    plain = nn.Sequential(nn.Linear(20, 28), nn.ReLU(), nn.Linear(28, 20))
    plan = Plan.infer(plain, tile=8)
    net = WeiT(plain, TemplateBank.from_plan(plan, 4), plan)
    by_slot = unstack(net.weights(), net.layout)
    assert {name: weight.shape for name, weight in net.compose().items()} == {
        name: parameter.shape for name, parameter in plain.named_parameters()
    }
    for name, weight in net.compose().items():
        torch.testing.assert_close(weight, by_slot[name])


def test_the_users_network_is_not_touched():
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    trained(WeiT(net, TemplateBank.from_plan(PLAN), PLAN))
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert all(p.requires_grad for p in net.parameters())


def test_training_only_the_scalers_leaves_templates_and_free_parameters():
    net = composed()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    trained(net, parameters=net.scalers.parameters())
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]) != key.startswith("scalers."), key


def test_two_sizes_share_the_templates():
    bank = TemplateBank.from_plan(PLAN, 4)
    small, large = WeiT(small_net(width=16), bank, PLAN), WeiT(small_net(width=24, depth=3), bank, PLAN)
    expected = large.compose()["blocks.0.fc1.weight"].detach().clone()
    trained(small, parameters=bank.parameters())
    assert not torch.allclose(large.compose()["blocks.0.fc1.weight"], expected)


def test_gradients_equal_those_of_the_plain_network():
    net = composed()
    plain = net.materialize()
    (plain(*small_inputs()) ** 2).sum().backward()
    weights = net.compose()
    grads = torch.autograd.grad((net(*small_inputs()) ** 2).sum(), list(net.free.values()), retain_graph=True)
    for (key, _), grad in zip(net.free.items(), grads, strict=True):
        name = net.layout[key.replace("/", ".")].names[0]
        torch.testing.assert_close(grad[0].reshape(-1), plain.get_parameter(name).grad.reshape(-1))
    assert set(weights) == set(dict(plain.named_parameters()))


def test_state_dict_holds_factors_and_buffers_but_no_placeholders():
    net = composed()
    names = set(net.state_dict())
    assert not any(name.startswith("net.blocks") for name in names)
    assert "net.observation_mean" in names
    other = composed(seed=3)
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other(*small_inputs()), net(*small_inputs()))


def test_eval_and_dtype_reach_the_network_inside():
    net = composed().double().eval()
    assert not net.net.training
    assert net(*[x.double() if x.is_floating_point() else x for x in small_inputs()]).dtype == torch.float64


@pytest.fixture
def saved(tmp_path):
    net = trained(composed())
    net.bank.source = {f"own.{k}": v.detach().clone() for k, v in net.own().items()}
    net.bank.card |= {"size": [16, 2, 8]}
    return net.bank.save(tmp_path / "b [1], x=2.safetensors")


def test_a_saved_bank_is_the_same_bank(saved):
    bank = TemplateBank.load(saved)
    net = network_of_size(bank, small_net(), small_net(seed=7), PLAN)
    again = network_of_size(TemplateBank.load(saved), small_net(), small_net(seed=8), PLAN)
    assert torch.equal(net(*small_inputs()), again(*small_inputs()))
    assert bank.card["size"] == [16, 2, 8]
    assert json.loads(saved.with_suffix(".json").read_text())["constraint"] == "kronecker"


def test_damaged_edited_or_foreign_banks_are_refused(saved, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        TemplateBank.load(tmp_path / "nowhere.safetensors")
    data = saved.read_bytes()
    for damage in (data[: len(data) // 2], data[:-5] + bytes([data[-5] ^ 1]) + data[-4:], b"hello", b""):
        (tmp_path / "bad.safetensors").write_bytes(damage)
        with pytest.raises(UserError, match=r"bad\.safetensors"):
            TemplateBank.load(tmp_path / "bad.safetensors")
    card = saved.with_suffix(".json")
    card.write_text(card.read_text().replace("16", "32"))
    with pytest.raises(UserError, match="edited"):
        TemplateBank.load(saved)


def test_a_bank_without_a_role_or_with_other_tiles_is_refused():
    bank = TemplateBank.from_plan(PLAN, 4)
    with pytest.raises(UserError, match=r"qkv.*8x8.*16x16"):
        WeiT(small_net(), bank, MODELS.get("dt").plan(16))
    bank.templates = Parameters({role: t for role, t in bank.templates.items() if role != "fc2"})
    with pytest.raises(UserError, match="'fc2'"):
        WeiT(small_net(), bank, PLAN)
    with pytest.raises(UserError, match="rank"):
        TemplateBank.from_plan(PLAN, rank=0)
    with pytest.raises(UserError, match="composes no parameter"):
        TemplateBank.from_plan(Plan.infer(nn.Linear(4, 4)))
    with pytest.raises(UserError, match="kronecker"):
        TemplateBank.from_plan(PLAN, constraint="kroneker")


def test_a_composed_network_is_compiled_whole_with_the_same_gradients():
    net = composed().eval()
    parameters = [*net.scalers.parameters(), *net.bank.parameters()]
    results = [
        (each(*small_inputs()) ** 2).mean() for each in (net, torch.compile(net, fullgraph=True, backend="aot_eager"))
    ]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(result, parameters) for result in results))
