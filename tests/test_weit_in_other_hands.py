"""A WeiT where other libraries expect a module: its parameters are what is trained, the network inside is reachable."""

import copy
import io
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import small_inputs, small_net
from torch import nn

from weit_rl import Plan, Rule, TemplateBank, UserError, WeiT
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.models import MODELS

X = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """A few kinds of layers, a buffer, an attribute, a method that predicts and one that writes."""

    def __init__(self, width=16):
        super().__init__()
        torch.manual_seed(0)
        self.num_features, self.config = width, {"width": width}
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.rnn = nn.LSTM(width, width, batch_first=True)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.head = nn.Linear(width, 5)

    def forward_features(self, x):
        x = self.rnn(self.stem(x).flatten(2).transpose(1, 2))[0]
        return self.attention(x, x, x)[0].mean(1)

    def forward(self, x):
        return self.head(self.forward_features(x))

    @torch.no_grad()
    def generate(self, x):
        return self(x).argmax(-1)

    @torch.no_grad()
    def reset_parameters(self):
        self.attention.out_proj.weight.zero_()

    def reset_classifier(self, classes):
        self.head = nn.Linear(self.num_features, classes)


def composed(constraint="kronecker", net=None):
    net = net or Network()
    plan = Plan.infer(net, tile=8)
    return WeiT(net, TemplateBank.from_plan(plan, 3, constraint), plan).eval()


def trained(net, steps=2, parameters=None, run=None):
    optimizer = torch.optim.AdamW(parameters or net.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        (run or net)(X).square().mean().backward()
        optimizer.step()
    return net


@pytest.mark.parametrize("constraint", CONSTRAINTS.names())
def test_parameters_are_exactly_the_trained_tensors(constraint):
    net = composed(constraint)
    names = dict(net.named_parameters())
    wanted = [*net.bank.parameters(), *net.scalers.parameters(), *net.free.parameters()]
    assert {id(p) for p in names.values()} == {id(p) for p in wanted} and all(p.is_contiguous() for p in wanted)
    assert {name.partition(".")[0] for name in names} == {"bank", "scalers", "free"}
    buffers = {f"net.{name}" for name, _ in Network().named_buffers()}
    assert set(net.state_dict()) == set(names) | buffers
    with torch.no_grad():
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.1)
            parameter.mul_(0.5)
    torch.testing.assert_close(net(X), net.materialize()(X))


def test_the_network_inside_and_its_layers_compose_their_own_weights():
    net = trained(composed())
    torch.testing.assert_close(net.net(X), net(X))
    torch.testing.assert_close(net.forward_features(X), net.net.forward_features(X))
    torch.testing.assert_close(net.net.head.weight @ torch.ones(16), net.compose()["head.weight"] @ torch.ones(16))
    assert net.net.head.weight.shape == (5, 16) and net.net.head.weight.dtype == torch.float32
    assert torch.equal(net.generate(X), net.materialize().generate(X))
    grads = [torch.autograd.grad(each(X).sum(), list(net.parameters())) for each in (net, net.net)]
    torch.testing.assert_close(*grads)


def test_attributes_of_the_network_are_reachable_and_missing_ones_are_missing():
    net = composed()
    assert (net.num_features, net.config) == (16, {"width": 16})
    assert hasattr(net, "generate") and not hasattr(net, "num_classes")
    with pytest.raises(AttributeError, match="num_classes"):
        _ = net.num_classes


@pytest.mark.parametrize(
    "write",
    [
        lambda net: net.reset_parameters(),
        lambda net: net.net.reset_parameters(),
        lambda net: nn.init.zeros_(net.net.attention.in_proj_weight),
        lambda net: net.net.rnn.weight_hh_l0.data.zero_(),
        lambda net: net.net.rnn.weight_hh_l0.__setitem__(0, 1.0),
    ],
)
def test_writing_into_composed_weights_is_refused(write):
    net = composed()
    before = net(X)
    with pytest.raises(UserError, match=r"write.*materialize\(\)"), torch.no_grad():
        write(net)
    assert torch.equal(net(X), before)


@torch.no_grad()
def test_writing_into_free_weights_is_writing_into_the_network():
    net = composed()
    nn.init.ones_(net.net.head.weight)
    net.net.head.bias.data.zero_()
    net.net.stem[1].bias[0] = 3.0
    assert (net.free["head.weight"] == 1).all() and not net.free["head.bias"].any()
    assert net.materialize().stem[1].bias[0] == 3 and torch.equal(net.materialize()(X), net(X))


@pytest.mark.parametrize(
    "replace",
    [
        lambda net: net.reset_classifier(7),
        lambda net: setattr(net.net, "head", nn.Identity()),
        lambda net: setattr(net.net.head, "weight", nn.Parameter(torch.zeros(5, 16))),
        lambda net: delattr(net.net, "head"),
    ],
)
def test_a_layer_replaced_inside_is_named(replace):
    net = composed()
    replace(net)
    with pytest.raises(UserError, match=r"head\.weight: was replaced.*materialize\(\)"):
        net(X)


def test_copies_pickles_and_casts_are_the_same_network():
    net = trained(composed())
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), again):
        assert torch.equal(other(X), net(X)) and torch.equal(other.net(X), net.net(X))
        trained(other)
        assert not torch.equal(other(X), net(X))
        torch.testing.assert_close(other.net(X), other(X))
    double = copy.deepcopy(net).to(torch.float64)
    assert double(X.double()).dtype == torch.float64 and double.net(X.double()).dtype == torch.float64
    torch.testing.assert_close(double(X.double()).float(), net(X))
    assert all(p.is_meta for p in copy.deepcopy(net).to("meta").parameters())


def test_parts_put_in_afterwards_are_those_of_the_layers_too():
    net, other = composed(), trained(composed())
    net.scalers, net.free, net.bank = other.scalers, other.free, other.bank
    assert torch.equal(net(X), other(X)) and torch.equal(net.net(X), other.net(X))


def test_distributed_data_parallel(tmp_path):
    torch.distributed.init_process_group("gloo", store=torch.distributed.FileStore(str(tmp_path / "s"), 1), rank=0,
                                         world_size=1)  # fmt: skip
    try:
        net, alone = composed(), composed()
        trained(net, run=nn.parallel.DistributedDataParallel(net))
    finally:
        torch.distributed.destroy_process_group()
    torch.testing.assert_close(net(X), trained(alone)(X))


def test_running_averages_of_other_libraries():
    net = composed()
    averaged = torch.optim.swa_utils.AveragedModel(net)
    target = copy.deepcopy(net)
    trained(net)
    averaged.update_parameters(net)
    torch.testing.assert_close(averaged(X), net(X))
    polyak = pytest.importorskip("stable_baselines3.common.utils").polyak_update
    polyak(net.parameters(), target.parameters(), 1.0)
    torch.testing.assert_close(target(X), net(X))


def test_diffusers_average():
    ema = pytest.importorskip("diffusers.training_utils").EMAModel(composed().parameters(), decay=0.0)
    net = trained(composed())
    ema.step(net.parameters())
    other = composed()
    ema.copy_to(other.parameters())
    torch.testing.assert_close(other(X), net(X))


def test_frozen_parameters_stay_frozen():
    plain = Network()
    for name, parameter in plain.named_parameters():
        parameter.requires_grad_("stem" not in name)
    net = composed(net=plain)
    assert not any(p.requires_grad for key, p in net.own().items() if "stem" in key)
    assert all(p.requires_grad for key, p in net.own().items() if "stem" not in key)
    before = {key: p.clone() for key, p in net.own().items()}
    trained(net)
    assert {key for key, p in net.own().items() if torch.equal(p, before[key])} == {k for k in before if "stem" in k}
    assert {n: p.requires_grad for n, p in net.materialize().named_parameters()} == {
        n: p.requires_grad for n, p in plain.named_parameters()
    }


def test_a_slot_that_is_frozen_in_part_is_refused_and_a_rule_divides_it():
    plan = MODELS.get("dt").plan(8)
    plain = small_net()
    plain.blocks[0].requires_grad_(False)
    with pytest.raises(UserError, match=r"blocks\.0\.\S+: is frozen, blocks\.1\.\S+ is not.*Rule without LAYER"):
        WeiT(plain, TemplateBank.from_plan(plan, 4), plan)
    layout = plan.layout(plain)
    own = [Rule(slot.names[0].replace(".", r"\."), slot.rule.role, slot.rule.tile, slot.rule.split, slot.rule.axes,
                slot.rule.fan_in) for slot in layout.values() if slot.names[0].startswith("blocks.0")]  # fmt: skip
    plan = Plan((*own, *plan.rules))
    net = WeiT(plain, TemplateBank.from_plan(plan, 4), plan)
    assert {key for key, p in net.own().items() if not p.requires_grad} == {k for k in net.own() if "blocks.0" in k}
    net(*small_inputs()).sum().backward()
    assert all(p.grad is None for key, p in net.own().items() if "blocks.0" in key)


def test_a_run_inside_a_run_of_the_same_network():
    net = composed()
    plain = net(X)
    seen: list = []

    def again(*_):
        if not seen:
            seen.append(None)
            seen.append(net(X))

    handle = net.net.head.register_forward_hook(again)
    torch.testing.assert_close(net(X), plain)
    handle.remove()
    torch.testing.assert_close(seen[1], plain)
    torch.testing.assert_close(net.materialize()(X), plain)


def test_threads_that_call_one_network_wait_for_each_other():
    net = composed()
    with torch.no_grad():
        alone = net(X)

    def run(_):
        with torch.no_grad():
            return [net(X) for _ in range(30)]

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads take turns inside of runs, too
    try:
        with ThreadPoolExecutor(4) as threads:
            outputs = [output for run_outputs in threads.map(run, range(4)) for output in run_outputs]
    finally:
        sys.setswitchinterval(before)
    assert all(torch.equal(output, alone) for output in outputs)
    assert not list(net.net.parameters())


@pytest.mark.parametrize("take", [copy.deepcopy, pickle.dumps, WeiT.materialize])
def test_a_network_that_runs_is_not_copied(take):
    net, said = composed(), []

    def hook(*_):
        with pytest.raises(UserError, match="copy, save or materialize it afterwards") as error:
            take(net)
        said.append(error)

    handle = net.net.head.register_forward_hook(hook)
    output = net(X)
    handle.remove()
    assert said and torch.equal(copy.deepcopy(net)(X), output)


def test_a_network_without_values_is_refused():
    plan = Plan.infer(net := nn.Linear(16, 16, device="meta"), tile=8)
    with pytest.raises(UserError, match="parameter weight: is on the meta device"):
        WeiT(net, TemplateBank.from_plan(plan, 3), plan)
