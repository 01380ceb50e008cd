"""Plan.infer on public architectures: a bank of a small network serves a large one, and the page says so."""

import pytest
import torch
from shared_architectures import ALL, LIBRARIES, PAGE, inferred, row, ways
from torch import nn
from torch.nn.utils import prune

from weit_rl import Plan, Rule, TemplateBank, UserError, WeiT
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.resize import layer_map, resize

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def outputs(net, inputs):
    """Collect all tensors of numbers that a network gives, whatever holds them."""
    return list(flat(net(*inputs)))


def flat(value):
    if torch.is_tensor(value):
        yield from [value] if value.is_floating_point() else []
    elif isinstance(value, dict):
        yield from flat(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from flat(part)


def inputs_of(family, width):
    torch.manual_seed(0)
    return family.inputs(width) if family.inputs.__code__.co_varnames[:1] == ("w",) else family.inputs()


def serves(family, size, bank):
    """Check that a size works with a bank as the plain network does: its outputs, and gradients of what is free."""
    net = family.net(*size)
    composed = WeiT(net, bank, inferred(net)[0]).eval()
    plain, inputs = composed.materialize().eval(), inputs_of(family, size[0])
    results = outputs(composed, inputs), outputs(plain, inputs)
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)
    for values in results:
        sum(value.square().mean() for value in values).backward()
    wanted = {name: p.grad for name, p in plain.named_parameters()}
    for key, slot in composed.layout.items():
        reached = [wanted[name] for name in slot.names if wanted[name] is not None]
        assert not reached or composed.own()[key].grad is not None, key
        if slot.rule.tile is None and len(reached) == len(slot.names):
            same = torch.stack(reached).reshape(slot.full_shape)
            torch.testing.assert_close(composed.own()[key].grad, same, rtol=1e-2, atol=1e-4)
    return composed


@pytest.mark.parametrize(("library", "name"), ALL)
def test_the_page_shows_what_is_measured(library, name):
    pytest.importorskip(library, reason=f"{library} is not installed: pip install 'weit_rl[test]'")
    line, family = row(library, name), LIBRARIES[library][name]
    assert line in PAGE.read_text().splitlines(), f"python tests/shared_architectures.py writes {line}"
    plan = inferred(family.net(*family.sizes[0]))[0]
    bank = TemplateBank.from_plan(plan, 2)
    shared = line.split(" | ")[5].split(" and ")
    served = [size for way, size in ways(family).items() if way in shared]
    big = serves(family, family.sizes[1] if len(served) == len(ways(family)) else served[-1], bank)
    assert {rule.role for rule in big.plan.rules if rule.tile} <= set(plan.tiles())  # none for each block


def test_the_page_has_a_line_for_each():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert len(ALL) > 30 and len([line for line in lines if line.count("|") == 9]) == len(ALL) + 2


# --- blocks beside other layers


def stacked(depth, width=64):
    blocks = [nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True) for _ in range(depth)]
    return nn.Sequential(nn.Linear(8, width), *blocks, nn.Linear(width, 3)).eval()


@pytest.mark.parametrize("depths", [(1, 4), (2, 5), (4, 2), (3, 1)])
def test_scalers_go_to_another_depth_by_rank_not_by_index(depths):
    small_net, large_net = map(stacked, depths)
    bank = TemplateBank.from_plan(Plan.infer(small_net), 4)
    small, large = (WeiT(net, bank, Plan.infer(net)) for net in (small_net, large_net))
    large.load_own(resize(small.own(), small.layout, large.layout, True))
    before, after = small.compose(), large.compose()
    first, last = f"{depths[0] + 1}.weight", f"{depths[1] + 1}.weight"  # the heads stand at other indices
    assert torch.equal(before[first], after[last]) and torch.equal(before["0.weight"], after["0.weight"])
    for block, source in enumerate(layer_map(*depths), start=1):
        name = "{}.self_attn.in_proj_weight"
        assert torch.equal(before[name.format(source + 1)], after[name.format(block)])


def test_a_pre_trained_bank_starts_another_depth_with_the_plans_of_both():
    small_net, large_net = stacked(2), stacked(4, 128)
    plans = Plan.infer(small_net), Plan.infer(large_net)
    small = WeiT(small_net, TemplateBank.from_plan(plans[0], 4), plans[0])
    source = {f"own.{key}": tensor.detach() for key, tensor in small.own().items()}
    bank = TemplateBank(dict(small.bank.templates), source=source)
    large = network_of_size(bank, small_net, large_net, plans[1], source_plan=plans[0])
    assert torch.equal(large.compose()["5.bias"], small.compose()["3.bias"])


def test_a_widened_mlp_computes_the_same():
    def mlp(width, depth=2):
        hidden = [module for _ in range(depth) for module in (nn.Linear(width, width), nn.ReLU())]
        return nn.Sequential(nn.Linear(8, width), nn.ReLU(), *hidden, nn.Linear(width, 2))

    nets = mlp(64), mlp(128)
    plans = [Plan.infer(net) for net in nets]
    small, large = (WeiT(net, TemplateBank.from_plan(plans[0], 4), plan) for net, plan in zip(nets, plans, strict=True))
    large.load_own(resize(small.own(), small.layout, large.layout, True))
    x = torch.randn(5, 8)
    torch.testing.assert_close(large(x), small(x), rtol=1e-4, atol=1e-5)


def block(width=64):
    return nn.TransformerEncoderLayer(width, 2, width, 0.0, batch_first=True)


class Stage(nn.Module):
    def __init__(self, narrow, wide, depth):
        super().__init__()
        self.blocks = nn.Sequential(*[block(wide) for _ in range(depth)])
        self.down = nn.Linear(narrow, wide)


class Expert(nn.Module):
    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(32, 32) for _ in range(3))
        self.norm = nn.LayerNorm(32)


def roles(net):
    return set(Plan.infer(net).tiles())


def test_stages_keep_roles_of_their_own_and_lists_in_blocks_do_not_hide_depth():
    stages = nn.Sequential(Stage(32, 32, 2), Stage(32, 64, 3))
    assert {role.split(".")[0] for role in roles(stages)} == {"0", "1"} and len(roles(stages)) == 10
    assert roles(nn.ModuleList(Expert() for _ in range(4))) == {"experts.weight"}


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (lambda: nn.TransformerEncoder(block(), 2), "layers.*.linear1.weight"),
        (lambda: nn.Sequential(nn.TransformerEncoder(block(), 2)), "0.layers.*.linear1.weight"),
        (lambda: nn.Sequential(nn.Linear(8, 64), block(), nn.Linear(64, 64)), "1.linear1.weight"),
        (
            lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)),
            "2.weight",
        ),
        (lambda: nn.ModuleDict({"actor1": block(), "actor2": block()}), "actor2.linear1.weight"),
        (lambda: nn.LSTM(40, 64, 2), "weight_ih_l1"),
    ],
)
def test_older_networks_keep_their_names(build, wanted):
    layout = Plan.infer(build()).layout(build())
    assert layout[wanted].rule.role == wanted.replace(".*", "") and layout[wanted].rule.slot == ""


def test_a_bank_with_roles_by_position_still_works():
    net = pytest.importorskip("torchvision", reason="the vision extra is not installed").models.resnet18(num_classes=4)
    plan = Plan.infer(net, by_position=True)
    roles = {key: slot.rule.role for key, slot in plan.layout(net).items()}
    assert roles["layer2.1.conv1.weight"] == "layer2.1.conv1.weight" and roles["layer1.*.bn1.bias"] == "layer1.bn1.bias"
    assert not any(rule.slot for rule in plan.rules)


# --- what is refused


def test_every_ambiguous_parameter_is_named_at_once_with_rules_that_work():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(7, 64))
            self.c_attn = nn.Linear(64, 192)
            self.groups = nn.ModuleList(nn.Conv1d(64, 64, 3, groups=2) for _ in range(2))

    with pytest.raises(UserError, match=r"table.*c_attn\.weight.*groups\.0\.weight") as refusal:
        Plan.infer(Odd())
    assert "\n" not in str(refusal.value) and str(refusal.value).count("Rule(") == 4
    plan, refused = inferred(Odd())
    assert refused and len(plan.layout(Odd())["groups.*.weight"].names) == 2
    assert plan.layout(Odd())["c_attn.weight"].rule.axes[0] == "fixed"


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(64), nn.Linear(64, 64)), "0.weight: has no shape yet"),
        (lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(64, 64))), "0.weight_v: a hook makes the weight"),
        (lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(64, 64))), "0.weight_orig: a hook makes the weight"),
        (lambda: prune.l1_unstructured(nn.Linear(64, 64), "weight", 0.5), "weight_orig: a hook makes the weight"),
    ],
)
def test_a_network_that_is_not_ready_is_refused(build, says):
    with pytest.raises(UserError, match=says):
        Plan.infer(build())
    plan = Plan((Rule(".*", "all", None, 1, ("fixed",)),))
    with pytest.raises(UserError, match=says):
        WeiT(build(), TemplateBank({"all": torch.ones(1, 1)}), plan)


def test_a_network_on_the_meta_device_has_the_plan_of_a_real_one():
    with torch.device("meta"):
        plan = Plan.infer(stacked(2))
    real = Plan.infer(stacked(2))
    assert [(r.pattern, r.role, r.tile, r.axes) for r in plan.rules] == [
        (r.pattern, r.role, r.tile, r.axes) for r in real.rules
    ]
    net = WeiT(stacked(2), TemplateBank.from_plan(plan, 4), plan)
    assert net(torch.zeros(1, 3, 8)).isfinite().all()


def test_a_source_without_such_blocks_or_with_other_tiles_is_refused():
    small, large = nn.Sequential(nn.Linear(8, 64)), nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 64))
    plans = Plan.infer(small), Plan.infer(large)
    own = {"*.weight": torch.zeros(1, 1, 64, 8), "*.bias": torch.zeros(1, 1, 64)}
    with pytest.raises(UserError, match=r"0\.weight: the source has no such parameter"):
        resize(own, plans[0].layout(small), plans[1].layout(large), True)
    short, tall = nn.Linear(16, 64), nn.Linear(32, 64)
    plans = Plan.infer(short), Plan.infer(tall)
    own = {"weight": torch.zeros(1, 1, 64, 16), "bias": torch.zeros(1, 1, 64)}
    with pytest.raises(UserError, match=r"weight: its tile is None in the source and \(32, 32\) here"):
        resize(own, plans[0].layout(short), plans[1].layout(tall), True)


def test_parts_side_by_side_on_an_input_axis_are_not_widened():
    nets = nn.LSTM(40, 64, 2, bidirectional=True), nn.LSTM(40, 128, 2, bidirectional=True)
    plans = [Plan.infer(net) for net in nets]
    bank = TemplateBank.from_plan(plans[0], 4)
    small, large = (WeiT(net, bank, plan) for net, plan in zip(nets, plans, strict=True))
    with pytest.raises(UserError, match="weight_ih_l1: axis 1 is fixed"):
        resize(small.own(), small.layout, large.layout, True)


class Gated(nn.Module):
    def __init__(self, width, name):
        super().__init__()
        self.add_module(name, nn.Linear(width, 8 * width))
        self.out, self.name = nn.Linear(4 * width, width), name

    def forward(self, x):
        gate, value = getattr(self, self.name)(x).chunk(2, dim=-1)
        return self.out(gate.sigmoid() * value)


@pytest.mark.parametrize("name", ["proj", "Wi"])
def test_the_halves_of_a_gated_unit_are_not_cut_as_one(name):
    nets = Gated(32, name), Gated(64, name)
    plans = [Plan.infer(net) for net in nets]
    bank = TemplateBank.from_plan(plans[0], 4)
    small, large = (WeiT(net, bank, plan) for net, plan in zip(nets, plans, strict=True))
    with pytest.raises(UserError, match=f"{name}.weight: axis 0 is fixed"):
        resize(small.own(), small.layout, large.layout, True)


def test_a_layer_that_doubles_its_width_is_no_gated_unit():
    rules = Plan.infer(
        nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
    ).rules
    assert all("fixed" not in rule.axes for rule in rules)
