"""Plans: rule matching, slots, and errors that name the parameter."""

import pytest
import torch
from conftest import small_inputs, small_net
from torch import nn

from weit_rl import Plan, Rule, TemplateBank, UserError, WeiT
from weit_rl.core.plan import LAYER
from weit_rl.core.slot_tensors import stack, unstack
from weit_rl.models import MODELS

NETWORKS = {
    "mlp": (lambda w: nn.Sequential(nn.Linear(17, w), nn.ReLU(), nn.Linear(w, w), nn.ReLU(), nn.Linear(w, 6)), (3, 17)),
    "encoder": (
        lambda w: nn.TransformerEncoder(nn.TransformerEncoderLayer(w, 2, 2 * w, 0.0, batch_first=True), 3),
        None,
    ),
    "lstm": (lambda w: nn.LSTM(40, w, 2), (2, 5, 40)),
    "conv": (
        lambda w: nn.Sequential(
            nn.Conv2d(3, w, 3), nn.Conv2d(w, w, 3, groups=w), nn.Conv2d(w, 2 * w, 1), nn.BatchNorm2d(2 * w)
        ),
        (2, 3, 9, 9),
    ),
    "deconv": (lambda w: nn.Sequential(nn.ConvTranspose1d(w, 2 * w, 4), nn.ConvTranspose1d(2 * w, 3, 2)), None),
}


def output(net, x):
    y = net(x)
    return y[0] if isinstance(y, tuple) else y


def inputs_of(name, width):
    shape = NETWORKS[name][1] or {"encoder": (2, 5, width), "deconv": (2, width, 6)}[name]
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_infer_two_sizes_of_any_network_share_a_bank(name):
    build = NETWORKS[name][0]
    plan = Plan.infer(build(64))
    bank = TemplateBank.from_plan(plan, rank=4)
    for width in (64, 96):
        net = WeiT(build(width), bank, plan)
        out = output(net.train(), inputs_of(name, width))
        out.pow(2).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.scalers.parameters())
        torch.testing.assert_close(
            output(net.eval(), inputs_of(name, width)), output(net.materialize().eval(), inputs_of(name, width))
        )


def test_infer_collapses_layers_splits_fused_projections_and_keeps_small_axes_free():
    plan = Plan.infer(NETWORKS["encoder"][0](64))
    rules = {rule.role: rule for rule in plan.rules}
    assert rules["layers.self_attn.in_proj_weight"].split == 3
    assert len(plan.layout(NETWORKS["encoder"][0](64))["layers.*.linear1.weight"].names) == 3
    assert {r.split for r in Plan.infer(nn.LSTM(40, 64)).rules} == {4}
    mlp = {rule.role: rule for rule in Plan.infer(NETWORKS["mlp"][0](64)).rules}
    assert (mlp["0.weight"].tile, mlp["2.weight"].tile, mlp["4.weight"].tile) == (None, (32, 32), None)


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(7, 64))
        self.lin = nn.Linear(64, 64)

    def forward(self, x):
        return self.lin(x + self.table)


def test_infer_refuses_by_name_and_takes_a_rule_for_it():
    with pytest.raises(UserError, match="table"):
        Plan.infer(Positions())
    rule = Rule("table", "table", None, 1, ("fixed", "stream"))
    net = WeiT(
        Positions(),
        TemplateBank.from_plan(Plan.infer(Positions(), rules=(rule,))),
        Plan.infer(Positions(), rules=(rule,)),
    )
    assert net(torch.zeros(2, 7, 64)).shape == (2, 7, 64)
    with pytest.raises(UserError, match=r"1\.weight"):
        Plan.infer(nn.Sequential(nn.Linear(4, 64), nn.Conv1d(64, 64, 3, groups=2)))


@pytest.mark.parametrize("model", MODELS.names())
def test_every_model_is_covered_and_stacking_is_undone(model):
    net, plan = small_net(model), MODELS.get(model).plan(8)
    layout, parameters = plan.layout(net), dict(net.named_parameters())
    back = unstack(stack(parameters, layout), layout)
    assert set(back) == set(parameters)
    assert all(torch.equal(back[name], parameters[name]) for name in back)


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ((), "no rule.*weight|weight.*no rule"),
        ((Rule(".*", "all", (4, 4), 1, ("a", "b")),), "bias"),
        ((Rule("bias", "b", None, 1, ("a",)), Rule("weight", "w", (4, 4), 3, ("a", "b"))), "weight.*8.*3"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_by_name(rules, names):
    with pytest.raises(UserError, match=names):
        Plan(rules).layout(nn.Linear(8, 8))


def test_the_first_rule_wins_and_layers_of_other_shapes_are_refused():
    net = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 4, bias=False))
    rule = Rule(rf"{LAYER}\.weight", "w", (4, 4), 1, ("a", "b"), 1)
    first = Rule(r"1\.weight", "last", None, 1, ("a", "b"), 1)
    assert Plan((first, rule)).layout(net)["1.weight"].rule is first
    with pytest.raises(UserError, match="different shapes"):
        Plan((rule,)).layout(net)


def test_the_plan_of_the_decision_transformer_composes_the_block_weights():
    layout = MODELS.get("dt").plan(8).layout(small_net())
    composed = {key for key, slot in layout.items() if slot.rule.tile}
    assert composed == {f"blocks.*.{role}.weight" for role in ("qkv", "out", "fc1", "fc2")}
    assert small_net()(*small_inputs()).shape == (3, 4, 2)


def test_a_single_number_is_a_free_parameter():
    class Tempered(nn.Linear):
        def __init__(self):
            super().__init__(64, 64)
            self.temperature = nn.Parameter(torch.tensor(2.0))

        def forward(self, x):
            return super().forward(x) * self.temperature

    net = WeiT(Tempered(), TemplateBank.from_plan(Plan.infer(Tempered()), 4), Plan.infer(Tempered()))
    assert net.free["temperature"].numel() == 1
    torch.testing.assert_close(net(torch.ones(1, 64)), net.materialize()(torch.ones(1, 64)))


@pytest.mark.parametrize("name", ["values", "keys", "items"])
def test_any_name_of_a_parameter_will_do(name):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_parameter(name, nn.Parameter(torch.randn(64, 64)))
            self.layer = nn.Linear(64, 64)

        def forward(self, x):
            return self.layer(x @ getattr(self, name))

    mine = Rule(name, name, (16, 16), 1, ("a", "b"))
    plan = Plan.infer(Named(), tile=16, rules=(mine,))
    net = WeiT(Named(), TemplateBank.from_plan(plan, 4), plan)
    assert net.scalers[name].shape == (1, 1, 4, 4, 4)
    again = WeiT(Named(), TemplateBank.from_plan(plan, 4, seed=1), plan, seed=1)
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again(torch.ones(1, 64)), net.materialize()(torch.ones(1, 64)))


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("qkv", nn.Conv2d(64, 192, 1)),
        ("qkv", nn.Linear(64, 128)),
        ("c_attn", nn.Linear(64, 192)),
        ("adaLN", nn.Linear(64, 384)),
        ("w12", nn.Linear(64, 256)),
    ],
)
def test_a_possibly_fused_parameter_is_refused_by_name(name, module):
    with pytest.raises(UserError, match=name):
        Plan.infer(nn.ModuleDict({name: module}))


def test_a_weight_of_one_number_is_composed():
    plan = Plan.infer(nn.Sequential(nn.Linear(1, 1)), tile=1)
    weights = WeiT(nn.Sequential(nn.Linear(1, 1)), TemplateBank.from_plan(plan, rank=1), plan).weights()
    assert all(torch.isfinite(weight).all() for weight in weights.values())
