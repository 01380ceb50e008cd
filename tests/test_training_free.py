"""The initialisers that resize or draw weights without training, and the ceiling that only trains."""

import copy
import re
import sys
from types import SimpleNamespace

import pytest
import torch
from conftest import small_inputs, small_net

from weit_rl.common.errors import UserError
from weit_rl.core.plan import Plan
from weit_rl.core.resize import resize
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.initializers import INITIALIZERS, Context, TrainedSource
from weit_rl.initializers.bot import bot, haar, to_size
from weit_rl.initializers.direct import direct
from weit_rl.initializers.first_layer import eps_rank, first_layer
from weit_rl.initializers.free_only import free_only
from weit_rl.initializers.hypercloning import hypercloning
from weit_rl.initializers.mimetic import mimetic
from weit_rl.initializers.weight_selection import evenly_spaced, weight_selection
from weit_rl.models import MODELS
from weit_rl.training.loop import OptimizerRecipe, fit

PLAN = MODELS.get("dt").plan(8)
INPUTS = small_inputs(batch=16)
GOAL = torch.tanh(INPUTS[0][..., :2])
# Targets of a 16 x 2 source: width, depth.
DEFINED = (
    "weight_selection 8 1, hypercloning 32 2, bot 8 1, bot 24 3, bot 32 4, "
    "mimetic 24 3, first_layer 24 3, free_only 8 3, free_only 24 1, direct 24 3"
)
REFUSED = (
    "weight_selection 24 2 wider, weight_selection 16 3 deeper, hypercloning 8 2 narrower, hypercloning 32 3 deeper, "
    "hypercloning 32 1 shallower, hypercloning 24 2 1.5 times wider than its source (stream 16 to 24)"
)


def context(steps=0, lr=None, head_dim=8):
    return Context(PLAN, lambda net, _: ((net(*INPUTS) - GOAL) ** 2).mean(), fit, OptimizerRecipe(steps, lr), head_dim)


def trained(width=16, depth=2):
    """Make a network whose every parameter and buffer is away from its start: a forgotten one would show."""
    net = small_net(width=width, depth=depth)
    for p in net.parameters():
        torch.nn.init.normal_(p, 0.2, 0.3)
    net.observation_mean += 0.5
    return net


def made(make, source, target, **options):
    """Return the target, filled by an initialiser."""
    target.load_state_dict(make(TrainedSource(source), target, context(), **options))
    return target


def apart(net, other):
    return (net(*INPUTS) - other(*INPUTS)).norm().item()


@pytest.mark.parametrize("case", DEFINED.split(", "))
def test_each_fills_the_target(case):
    name, width, depth = case.split()
    initializer, source, target = INITIALIZERS.get(name), trained(), small_net("dt", int(width), int(depth), seed=3)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    given, used = TrainedSource(source) if initializer.needs_source else None, context(steps=3)
    initializer.check(given, target, PLAN)
    target.load_state_dict(initializer.make(given, target, used), strict=True)
    assert any(not torch.equal(p, before[key]) for key, p in target.named_parameters())
    assert target(*INPUTS).isfinite().all()
    assert initializer.needs_source == (name not in ("mimetic", "first_layer", "direct"))
    assert torch.equal(target.observation_mean, (source if given else small_net()).observation_mean)
    assert (initializer.stage_steps, used.spent["steps"]) == ((10_000, 3) if name == "direct" else (0, 0))


@pytest.mark.parametrize("case", REFUSED.split(", "))
def test_a_direction_that_is_not_defined_is_refused(case):
    name, width, depth, way = case.split(maxsplit=3)
    with pytest.raises(UserError, match=re.escape(f"init={name}: not defined for a target {way}")):
        INITIALIZERS.get(name).check(TrainedSource(trained()), small_net("dt", int(width), int(depth)), PLAN)


@pytest.mark.parametrize("name", ["mimetic", "first_layer"])
def test_a_model_without_the_layer_is_refused(name):
    net = torch.nn.Sequential(torch.nn.Linear(16, 16))
    with pytest.raises(UserError, match=f"init={name}: needs a model with"):
        INITIALIZERS.get(name).check(None, net, Plan.infer(net, 8))


def test_weight_selection_takes_the_same_channels_everywhere_and_the_first_layers():
    assert [evenly_spaced(8, 4).tolist(), evenly_spaced(9, 4).tolist()] == [[0, 2, 4, 6], [0, 3, 5, 8]]
    source, fresh = trained(32, 3), small_net(width=24, depth=2, seed=3)
    head = fresh.head.weight.clone()
    net = made(weight_selection, source, fresh)
    stream, hidden = [round(i * 31 / 23) for i in range(24)], [round(i * 127 / 95) for i in range(96)]
    torch.testing.assert_close(net.embed_time.weight, source.embed_time.weight[:, stream])
    for block, old in zip(net.blocks, source.blocks, strict=False):
        torch.testing.assert_close(block.fc1.weight, old.fc1.weight[hidden][:, stream])
        torch.testing.assert_close(block.norm2.weight, old.norm2.weight[stream])
        for part in range(3):
            rows = old.qkv.weight[32 * part : 32 * part + 32][stream]
            torch.testing.assert_close(block.qkv.weight[24 * part : 24 * part + 24], rows[:, stream])
    assert torch.equal(net.head.weight, source.head.weight[:, stream])
    net = made(weight_selection, source, small_net(width=24, depth=2, seed=3), keep_head=False)
    assert torch.equal(net.head.weight, head)


def test_bot_makes_more_heads_of_a_single_one():
    source = trained(width=8)
    net = made(bot, source, small_net(width=16, depth=2, seed=3))
    heads = net.blocks[0].qkv.weight.view(3, 2, 8, 16)
    assert torch.equal(heads[:, 0], heads[:, 1]) and all(p.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("make", [weight_selection, hypercloning, bot])
def test_equal_size_is_the_identity(make):
    source = trained()
    for name, value in made(make, source, small_net(seed=3)).state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("ratio", [2, 3])
def test_hypercloning_keeps_the_function(noise, ratio):
    source = trained()
    net = made(hypercloning, source, small_net(width=16 * ratio, seed=3), noise=noise)
    torch.testing.assert_close(net(*INPUTS), source(*INPUTS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("options", "part"), [({"noise": 0.0}, False), ({}, True)])
def test_only_noisy_copies_diverge(options, part):
    net, used = made(hypercloning, small_net(), small_net(width=32, seed=3), **options), context()
    fit(net, lambda step: used.loss(net, step), OptimizerRecipe(25, 1e-3))
    for name, p in net.named_parameters():
        if name.startswith("blocks") and "qkv" not in name:  # qkv has its three parts along this axis
            half = p.shape[0] // 2
            differ = (p[:half] - p[half:]).abs().reshape(half, -1).amax(1) > 1e-6
            assert differ.float().mean() > 0.9 if part else not differ.any(), name


@pytest.mark.parametrize("wavelet", ["haar", "db2"])
@pytest.mark.parametrize("gain", ["mean", "orthonormal"])
def test_bot_shrinks_what_it_grew_to_the_source(wavelet, gain):
    if wavelet != "haar":
        pytest.importorskip("pywt")
    source = trained()
    grown = made(bot, source, small_net(width=64, depth=4), wavelet=wavelet, gain=gain)
    for name, value in made(bot, grown, small_net(seed=3), wavelet=wavelet, gain=gain).state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[name], rtol=1e-5, atol=1e-6, msg=name)


def test_haar_by_hand():
    half = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], dtype=torch.float64)
    for gain, low in {"mean": 1, "orthonormal": 2**0.5}.items():
        torch.testing.assert_close(to_size(4, 2, haar, gain), half * low)
        torch.testing.assert_close(to_size(2, 4, haar, gain), half.T * 2 / low)
    assert to_size(4, 3, haar, "mean").argmax(1).tolist() == [0, 2, 3]  # no power of two: evenly spaced entries
    assert to_size(3, 4, haar, "mean").argmax(1).tolist() == [0, 1, 1, 2]
    assert to_size(8, 3, haar, "mean").argmax(1).tolist() == [0, 4, 6]  # halved first


@pytest.mark.parametrize(("gain", "channel"), [("mean", 1 / 2), ("orthonormal", 1 / 2**0.5)])
def test_bot_averages_outputs_adds_inputs_and_keeps_heads(gain, channel):
    source = trained()
    net = made(bot, source, small_net(width=8, depth=1, seed=3), gain=gain)
    fc1 = (source.blocks[0].fc1.weight + source.blocks[1].fc1.weight) / 2
    torch.testing.assert_close(net.blocks[0].fc1.weight[3, 5], fc1[6:8, 10:12].sum() / 2)
    values = (source.blocks[0].qkv.bias + source.blocks[1].qkv.bias)[32:] / 2
    torch.testing.assert_close(net.blocks[0].qkv.bias[16:], channel * (values[:8] + values[8:]))
    torch.testing.assert_close(net.norm_out.weight[1], channel * source.norm_out.weight[2:4].sum())


@pytest.mark.parametrize(
    ("gain", "width", "most"), [("mean", 32, 1e-4), ("mean", 64, 1e-4), ("mean", 24, 0.8), ("orthonormal", 32, 0.8)]
)
def test_bot_grows_with_less_harm_than_plain_repetition(gain, width, most):
    source, target = trained(), small_net(width=width, seed=3)
    old, new = PLAN.layout(source), PLAN.layout(target)
    copies = resize(stack_weights(source, PLAN), old, new, share=lambda n_old, n_new, *_: torch.ones(n_new))
    repeated = copy.deepcopy(target)
    repeated.load_state_dict(state_dict_of(target, copies, source, PLAN))
    assert apart(made(bot, source, target, gain=gain), source) < most * apart(repeated, source)


def test_missing_wavelets_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    with pytest.raises(UserError, match="wavelet=db2: needs PyWavelets; pip install PyWavelets"):
        made(bot, trained(), small_net(width=8), wavelet="db2")
    monkeypatch.setitem(sys.modules, "pywt", SimpleNamespace(wavelist=lambda kind: ["db2", "sym4"]))
    with pytest.raises(UserError, match="unknown wavelet 'db3'; did you mean db2"):
        made(bot, trained(), small_net(width=8), wavelet="db3")
    with pytest.raises(UserError, match="unknown gain 'average'"):
        made(bot, trained(), small_net(width=8), gain="average")


@pytest.mark.parametrize(("head_dim", "diagonal"), [(64, 0.7), (16, 0.31)])  # a quarter of the rank holds 0.31 of it
def test_mimetic_products_have_their_diagonals(head_dim, diagonal):
    net = small_net(width=64)
    net.load_state_dict(mimetic(None, net, context(head_dim=head_dim)))
    for block in net.blocks:
        queries, keys, values = block.qkv.weight.detach().reshape(3, -1, head_dim, 64)
        for query, key in zip(queries, keys, strict=True):
            assert float((query.T @ key).diagonal().mean()) == pytest.approx(diagonal, abs=0.06)
        product = block.out.weight.detach() @ values.reshape(64, 64)
        assert float(product.diagonal().mean()) == pytest.approx(-0.4, abs=0.03)
        assert float((product - torch.diag(product.diagonal())).std()) == pytest.approx(0.4 / 8, rel=0.1)
    assert torch.equal(net.blocks[0].fc1.weight, small_net(width=64).blocks[0].fc1.weight)


def test_eps_rank_counts_eigenvalues():
    basis = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    gram = basis @ torch.diag(torch.tensor([1.0, 0.1, 0.01, 0.0])) @ basis.T
    assert [eps_rank(gram, eps) for eps in (2, 0.5, 0.05, 0.001)] == [0, 1, 2, 3]


def test_the_structured_first_layer_has_more_independent_neurons():
    net, samples = small_net(width=40), torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    before = copy.deepcopy(net)
    net.load_state_dict(first_layer(None, net, context()))
    layer = net.embed_observation
    old, new = (embed(samples) for embed in (before.embed_observation, layer))
    assert eps_rank(old.T @ old / 500, 1e-4) == 5
    assert eps_rank(new.T @ new / 500, 1e-4) == 6  # a linear layer of five inputs and a bias has no more
    assert torch.equal(net.embed_time.weight, before.embed_time.weight)
    torch.testing.assert_close(layer.weight.norm(), before.embed_observation.weight.norm())
    scale = layer.weight.norm(dim=1)
    torch.testing.assert_close(scale, scale.mean().expand(40))
    torch.testing.assert_close(layer.weight.T @ layer.weight, scale[0] ** 2 * 8 * torch.eye(5))  # evenly spread
    torch.testing.assert_close((layer.bias / scale).sort()[0], (torch.arange(40) - 19.5) / 10)  # tiles -2 to 2


def test_free_only_takes_the_free_parameters_and_no_other():
    source, fresh = trained(), dict(small_net(seed=3).named_parameters())
    for name, p in made(free_only, source, small_net(seed=3)).named_parameters():
        composed = p.ndim == 2 and name.startswith("blocks")
        assert torch.equal(p, fresh[name] if composed else source.get_parameter(name)), name


def test_direct_trains_for_its_steps():
    target, used = small_net(), context(steps=30)
    before = used.loss(target, 0).item()
    target.load_state_dict(direct(None, target, used))
    assert used.loss(target, 0).item() < 0.7 * before
    assert used.spent["steps"] == 30


@pytest.mark.parametrize("noise", ["abc", -1, True, float("nan")])
def test_noise_that_is_no_number_is_refused(noise):
    with pytest.raises(UserError, match="must be a number, 0 or more"):
        hypercloning(TrainedSource(small_net(width=16)), small_net(width=32), context(), noise=noise)
