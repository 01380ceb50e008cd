"""Every initialiser with every model: it makes the target, or refuses it in one clear line."""

import copy
import functools
import itertools

import pytest
import torch
from conftest import TINY_TRAIN, small_inputs, small_net

from weit_rl.common.errors import NotDefined, UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.initializers import INITIALIZERS, Context, TrainedSource
from weit_rl.models import MODELS
from weit_rl.options.command import compose
from weit_rl.train import main as train
from weit_rl.training.loop import OptimizerRecipe, fit

PLANS = {model: MODELS.get(model).plan(8) for model in MODELS.names()}
TARGETS = {"same": (32, 2), "narrower": (16, 2), "wider": (64, 2), "shallower": (32, 1), "deeper": (32, 5)}
# The whole support table: what is not here, is made. A registered initialiser that refuses anything has a row here.
TARGETS_REFUSED = {
    "hypercloning": ("narrower", "shallower", "deeper"),
    "ligo": ("narrower", "shallower"),
    "pruning": ("wider", "deeper"),
    "sws": ("narrower", "wider"),
    "tleg": ("narrower", "wider"),
    "weight_selection": ("wider", "deeper"),
}
MODELS_REFUSED = {"mimetic": ("conv", "convnext", "convnext_policy", "dit", "mlp", "tcn")}  # without plain attention


def supported(name, model):
    """Return the targets that an initialiser makes for a model."""
    if model in MODELS_REFUSED.get(name, ()):
        return []
    return [way for way in TARGETS if way not in TARGETS_REFUSED.get(name, ())]


def cases():
    """Yield every supported initialiser, model and target; all but one target of each pair are slow.

    The one moves on from pair to pair, so that each initialiser and each model meets every target that it can.
    """
    names, models = INITIALIZERS.names(), MODELS.names()
    for (i, name), (j, model) in itertools.product(enumerate(names), enumerate(models)):
        ways = supported(name, model)
        for place, way in enumerate(ways):
            quick = place == (i + j) % len(ways)
            yield pytest.param(name, model, way, id=f"{name}-{model}-{way}", marks=[] if quick else pytest.mark.slow)


def normaliser(net):
    """Return its first buffer, or a zero for a network without any."""
    return next((buffer for name, buffer in net.named_buffers() if name.endswith("_mean")), torch.zeros(1))


@functools.cache
def source_of(model, constraint):
    """Make a network of 32 x 2 with a mark in its normaliser, and the bank it was composed from."""
    plain, bank = small_net(model, width=32), TemplateBank.from_plan(PLANS[model], 6, constraint)
    normaliser(plain).fill_(3.0)
    net = WeiT(plain, bank, PLANS[model])
    bank.source = {f"own.{k}": v.detach() for k, v in net.own().items()}
    bank.source |= {f"buffer.{k}": b for k, b in plain.named_buffers()}
    bank.card |= {"size": [32, 2, 8], "sizes_sampled": ["16x2", "32x2"]}
    return TrainedSource(net.materialize(), bank)


def source(name, model="dt"):
    """Return what an initialiser starts from; None for one that needs nothing."""
    constraint = "identity" if name == "supernet" else "kronecker"
    return source_of(model, constraint) if INITIALIZERS.get(name).needs_source else None


@functools.cache
def target_of(model, way):
    return small_net(model, *TARGETS[way], seed=5)


def context(steps, model="dt"):
    inputs = small_inputs(model)
    build = lambda size: small_net(model, size.width, size.depth)  # noqa: E731
    loss = lambda net, step: net(*inputs).square().mean()  # noqa: E731
    run = lambda net: net(*small_inputs(model, batch=32))  # noqa: E731
    return Context(PLANS[model], loss, fit, OptimizerRecipe(steps, None), head_dim=8, build=build, run=run)


def made(name, way, model="dt", steps=2):
    """Make the target with the weights that an initialiser gives it."""
    entry, start, target = INITIALIZERS.get(name), *copy.deepcopy((source(name, model), target_of(model, way)))
    entry.check(start, target, PLANS[model])
    did = context(steps if entry.stage_steps else 0, model)
    state = entry.make(start, target, did)
    assert did.spent["steps"] == (steps if entry.stage_steps else 0)
    target.load_state_dict(state)
    return target


def refusal(name, way, model):
    """Return the line with which an initialiser refuses a target, or None."""
    try:
        INITIALIZERS.get(name).check(source(name, model), target_of(model, way), PLANS[model])
    except NotDefined as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", INITIALIZERS.names())
def test_refusals_match_the_table_exactly(name):
    lines = {(model, way): refusal(name, way, model) for model in MODELS.names() for way in TARGETS}
    accepted = [pair for pair, line in lines.items() if line is None]
    assert accepted == [(model, way) for model in MODELS.names() for way in supported(name, model)]
    for (model, way), line in lines.items():
        reason = "attention" if model in MODELS_REFUSED.get(name, ()) else way
        assert line is None or (line.startswith(f"init={name}: ") and reason in line)


@pytest.mark.parametrize(("name", "model", "way"), list(cases()))
def test_every_supported_target_is_made(name, model, way):
    target, own, inputs = made(name, way, model), small_net(model), small_inputs(model)
    assert all(p.isfinite().all() for p in target.parameters()) and target(*inputs).shape == own(*inputs).shape
    kept = 3.0 if INITIALIZERS.get(name).needs_source else normaliser(own).unique().item()
    assert normaliser(target).unique().item() == (0.0 if model == "dit" else kept)  # which has no normaliser


@pytest.mark.parametrize("name", INITIALIZERS.names())
def test_the_same_seed_gives_the_same_weights(name):
    one, other = made(name, "same"), made(name, "same")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_run_starts_from_the_network_of_another(tiny_run, tiny_data, tmp_path):
    words = [*TINY_TRAIN, f"data={tiny_data}", "init=bot", f"source={tiny_run}", "train_steps=0"]
    report = train(compose("train", [*words, f"run_dir={tmp_path / 'run'}"]))
    assert (report["init"], report["scaler_steps"]) == ("bot", 0)  # it has no stage of its own
    with pytest.raises(UserError, match="needs a pre-trained bank"):
        train(compose("train", [*words, "init=weit", f"run_dir={tmp_path / 'bank'}"]))
    with pytest.raises(UserError, match="give the same options"):
        train(compose("train", [*words, "rtg=every", f"run_dir={tmp_path / 'rtg'}"]))
    assert not (tmp_path / "bank").exists() and not (tmp_path / "rtg").exists()
