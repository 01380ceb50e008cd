"""What holds for every initialiser and every model: a target it can make, one clear line for one it cannot."""

import pytest
import torch
from conftest import TINY_TRAIN, small_inputs, small_net

from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.initializers import INITIALIZERS, Context, Source
from weit_rl.models import MODELS
from weit_rl.options.command import compose
from weit_rl.train import main as train
from weit_rl.training.loop import Recipe, fit

PLANS = {model: MODELS.get(model).plan(8) for model in MODELS.names()}
ATTENTION, ATTENDS = ("mimetic",), ("dt", "vit")  # methods of attention alone; models that have it
TARGETS = {"same": (32, 2), "narrower": (16, 2), "wider": (64, 2), "shallower": (32, 1), "deeper": (32, 5)}


def normaliser(net):
    """Its first buffer; one that nothing reads for a network without any."""
    return next((buffer for name, buffer in net.named_buffers() if name.endswith("_mean")), torch.zeros(1))


def source(name, model="dt"):
    """A network of 32 x 2 with a mark in its normaliser, and the bank it was composed from."""
    constraint = "identity" if name == "supernet" else "kronecker"
    plain, bank = small_net(model, width=32), TemplateBank.from_plan(PLANS[model], 6, constraint)
    normaliser(plain).fill_(3.0)
    net = WeiT(plain, bank, PLANS[model])
    bank.source = {f"own.{k}": v.detach() for k, v in net.own().items()}
    bank.source |= {f"buffer.{k}": b for k, b in plain.named_buffers()}
    bank.card |= {"size": [32, 2, 8], "sizes_sampled": ["16x2", "32x2"]}
    return Source(net.materialize(), bank)


def context(steps, model="dt"):
    inputs = small_inputs(model)
    build = lambda size: small_net(model, size.width, size.depth)  # noqa: E731
    loss = lambda net, step: net(*inputs).square().mean()  # noqa: E731
    run = lambda net: net(*small_inputs(model, batch=32))  # noqa: E731
    return Context(PLANS[model], loss, fit, Recipe(steps, None), head_dim=8, build=build, run=run)


def made(name, way, model="dt", steps=2):
    """The target's state, or None where the initialiser says that it is not defined for it."""
    entry, target = INITIALIZERS.get(name), small_net(model, *TARGETS[way], seed=5)
    start = source(name, model) if entry.needs_source else None
    try:
        entry.check(start, target, PLANS[model])
    except UserError as error:
        assert f"init={name}" in str(error) and (way in str(error) or "attention" in str(error))
        return None
    did = context(steps if entry.stage_steps else 0, model)
    state = entry.make(start, target, did)
    assert did.spent["steps"] == (steps if entry.stage_steps else 0)
    target.load_state_dict(state)
    return target


@pytest.mark.parametrize("model", MODELS.names())
@pytest.mark.parametrize("way", TARGETS)
@pytest.mark.parametrize("name", INITIALIZERS.names())
def test_it_makes_the_target_or_says_that_it_cannot(name, way, model):
    target = made(name, way, model)
    if target is None:
        return
    own, inputs = small_net(model), small_inputs(model)
    assert all(p.isfinite().all() for p in target.parameters()) and target(*inputs).shape == own(*inputs).shape
    if not list(own.named_buffers()):
        return
    own = normaliser(own).unique().item()
    assert normaliser(target).unique().item() == (3.0 if INITIALIZERS.get(name).needs_source else own)


@pytest.mark.parametrize("model", MODELS.names())
@pytest.mark.parametrize("name", INITIALIZERS.names())
def test_it_is_defined_for_its_own_size_and_some_other(name, model):
    ways = [way for way in TARGETS if made(name, way, model) is not None]
    assert (model not in ATTENDS and name in ATTENTION and not ways) or ("same" in ways and len(ways) > 1)


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
