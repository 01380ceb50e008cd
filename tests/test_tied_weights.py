"""Networks that use a parameter under several names: it is composed once and tied everywhere."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from weit_rl import Rule, TemplateBank, WeiT
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.growing import rescale_state
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.plan import FIXED, LAYER, STREAM, Plan
from weit_rl.core.skeleton import bind_weights, skeleton
from weit_rl.core.stacked_weights import stack_weights, state_dict_of

PLAN = Plan(
    (
        Rule(r"embed\.weight", "embed", (8, 8), 1, (FIXED, STREAM), 1),
        Rule(rf"blocks\.{LAYER}\.weight", "block", (8, 8), 1, (STREAM, STREAM), 1),
        Rule(rf"blocks\.{LAYER}\.bias", "bias", None, 1, (STREAM,)),
        Rule(r"bias", "head", None, 1, (FIXED,)),
    )
)


class Language(nn.Module):
    """A tied language model: the head shares its weight with the embedding, and its bias with the model."""

    def __init__(self, width=16, depth=2, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.bias = nn.Parameter(torch.randn(24))
        self.embed = nn.Embedding(24, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 24)
        self.head.weight, self.head.bias = self.embed.weight, self.bias

    def forward(self, words):
        x = self.embed(words)
        for block in self.blocks:
            x = x + block(x).tanh()
        return self.head(x)


class Repeated(nn.Module):
    """A block used three times, as three entries of a list."""

    def __init__(self, width=16):
        super().__init__()
        block = nn.Linear(width, width)
        self.blocks = nn.ModuleList([block] * 3)

    def forward(self, x):
        for block in self.blocks:
            x = block(x).tanh()
        return x


NETWORKS = {"language": (Language, torch.arange(24).view(2, 12)), "repeated": (Repeated, torch.randn(4, 16))}


def composed(build, constraint="kronecker"):
    return WeiT(build(), TemplateBank.from_plan(PLAN, 4, constraint), PLAN)


def loss(net, inputs):
    return F.cross_entropy(net(inputs).flatten(0, -2), torch.arange(net(inputs).flatten(0, -2).shape[0]) % 16)


def ties(net):
    return {
        (a, b)
        for a, p in net.named_parameters(remove_duplicate=False)
        for b, q in net.named_parameters(remove_duplicate=False)
        if p is q
    }


@pytest.mark.parametrize("constraint", CONSTRAINTS.names())
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_the_plain_tied_network(name, constraint):
    build, inputs = NETWORKS[name]
    net = composed(build, constraint)
    plain = net.materialize()
    assert ties(plain) == ties(build())
    torch.testing.assert_close(net(inputs), plain(inputs))
    weights, parameters = net.compose(), dict(plain.named_parameters())
    upstream = torch.autograd.grad(loss(plain, inputs), list(parameters.values()))
    wanted = torch.autograd.grad([weights[key] for key in parameters], list(net.own().values()), upstream)
    found = torch.autograd.grad(loss(net, inputs), list(net.own().values()))
    torch.testing.assert_close(found, wanted)


def test_a_tied_weight_is_composed_once_under_its_first_name():
    net = composed(Language)
    assert set(net.own()) == {"bias", "embed.weight", "blocks.*.weight", "blocks.*.bias"}
    weights = net.compose()
    assert weights["head.weight"] is weights["embed.weight"] and weights["head.bias"] is weights["bias"]


@pytest.mark.parametrize("name", NETWORKS)
def test_state_dicts_and_copies_of_tied_networks(name):
    build, inputs = NETWORKS[name]
    net, other = composed(build), composed(build)
    nn.init.normal_(other.bank.templates["block"])
    other.load_state_dict(net.state_dict())
    plain = build()
    plain.load_state_dict(copy.deepcopy(other).materialize().state_dict())
    assert torch.equal(other(inputs), net(inputs))
    torch.testing.assert_close(plain(inputs), net(inputs))


def with_source(net, size):
    net.bank.source = {f"own.{key}": value.detach().clone() for key, value in net.own().items()}
    net.bank.card |= {"size": size}
    return net.bank


def test_a_bank_of_a_tied_network_starts_other_sizes(tmp_path):
    path = with_source(composed(Language), [16, 2, 8]).save(tmp_path / "bank.safetensors")
    words = NETWORKS["language"][1]
    same = network_of_size(TemplateBank.load(path), Language(), Language(seed=1), PLAN)
    torch.testing.assert_close(same(words), composed(Language)(words))
    large = network_of_size(TemplateBank.load(path), Language(), Language(32, 4), PLAN)
    assert ties(large.materialize()) == ties(Language(32, 4))
    torch.testing.assert_close(large.materialize()(words), large(words))


def test_states_of_initialisers_set_every_name_of_a_tied_weight():
    source, target, words = Language(), Language(seed=1), NETWORKS["language"][1]
    target.load_state_dict(state_dict_of(target, stack_weights(source, PLAN), source, PLAN))
    assert torch.equal(target(words), source(words))
    deep = Language(16, 4)
    deep.load_state_dict(rescale_state(source, deep, PLAN))  # strictly: no name is missing
    torch.testing.assert_close(deep(words), source(words))


def test_a_skeleton_runs_with_tied_weights():
    source, words = Language(), NETWORKS["language"][1]
    run = bind_weights(skeleton(Language(seed=1)), PLAN.layout(source), stack_weights(source, PLAN))
    assert torch.equal(run(words), source(words))
