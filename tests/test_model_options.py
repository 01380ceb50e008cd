"""Options of models: read off constructors, so that a new one touches the model's own file alone."""

from dataclasses import replace

import pytest
import torch
from conftest import small_net

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.deploy.policy_step import first_inputs
from weit_rl.models import MODELS, Model
from weit_rl.models.mlp import MLP, plan
from weit_rl.models.registry import options_of
from weit_rl.tasks.control import Control
from weit_rl.training.checkpoint import save_network
from weit_rl.workflows.source_network import network_at

POLICY = {
    "rtg": "latest",
    "past_actions": False,
    "positions": "window",
    "dropout": 0.0,
    "attention": "full",
    "band": 4,
}


class Scaled(MLP):
    """A policy with an option of its own, and another default than its base class has."""

    def __init__(self, size, observation_dim, action_dim, context=1, gain=2.0, dropout=0.1, **options):
        super().__init__(size, observation_dim, action_dim, context, dropout=dropout, **options)
        self.gain = gain


def plain(size, observation_dim, action_dim, context, max_steps, gain=1.0):
    """Build a network that has none of the policies' options."""
    return MLP(size, observation_dim, action_dim, context, max_steps=max_steps)


@pytest.fixture
def added():
    """Add two models of other packages, as their entry points do."""
    with MODELS.temporarily({"scaled": Model(Scaled, plan), "plain": Model(plain, plan)}):
        yield


def test_a_constructor_s_signature_tells_the_options_of_a_model():
    assert MODELS.get("mlp").options() == MODELS.get("dt").options() == POLICY
    assert options_of(Scaled) == {**POLICY, "gain": 2.0, "dropout": 0.1}
    assert MODELS.get("vit").options() == {"patch_size": None, "dropout": 0.0, "drop_path": 0.0}
    assert options_of(plain) == {"gain": 1.0}


def test_every_model_takes_the_options_that_it_lists():
    for model in MODELS.names():
        small_net(model, **MODELS.get(model).options())


def test_an_option_of_a_new_model_reaches_its_constructor_and_the_checkpoint(task, added):
    config = replace(task.config, model="scaled", dropout=0.3, model_options={"gain": 5.0})
    task = Control(task.entry, task.trajectories, config)
    net = task.build(Size(32, 1))
    assert (net.gain, net.blocks[0].dropout.p) == (5.0, 0.3)
    assert task.card(Size(32, 1))["options"] == {
        **POLICY, "observation_dim": 17, "action_dim": 6, "context": 4, "max_steps": 1000, "dropout": 0.3, "gain": 5.0
    }  # fmt: skip


def test_model_options_come_before_the_task_s_own_words(task):
    own = {"rtg": "none", "positions": "none", "attention": "band", "band": 1}
    task = Control(task.entry, task.trajectories, replace(task.config, rtg="every", model_options=own))
    net = task.build(Size(32, 1))
    assert (net.rtg, net.positions, net.attention, net.band) == ("none", "none", "band", 1)


@pytest.mark.parametrize(("changes", "says"), [
    ({"model_options": {"bandd": 3}}, "unknown option of model=dt 'bandd'; did you mean band?"),
    ({"model": "plain", "model_options": {"band": 3}}, "unknown option of model=plain .band.; did you mean gain"),
    ({"model": "plain", "rtg": "none"}, "rtg=none: model=plain has no such option; leave rtg out")])  # fmt: skip
def test_an_option_that_a_model_lacks_is_refused(task, added, changes, says):
    with pytest.raises(UserError, match=says):
        Control(task.entry, task.trajectories, replace(task.config, **changes)).build(Size(32, 1))


def test_a_model_without_the_usual_options_is_built_if_nobody_asks_for_them(task, added):
    task = Control(task.entry, task.trajectories, replace(task.config, model="plain", model_options={"gain": 3.0}))
    assert task.options() == {"observation_dim": 17, "action_dim": 6, "context": 4, "max_steps": 1000, "gain": 3.0}
    assert isinstance(task.build(Size(32, 1)), MLP)


@pytest.mark.parametrize(("options", "names"), [
    ({"rtg": "none"}, ["time", "past_observations"]),
    ({"rtg": "every", "past_actions": True},
     ["return_to_go", "time", "past_observations", "past_actions", "past_returns_to_go"]),
    ({"model": "mlp"}, ["return_to_go"]), ({"model": "mlp", "rtg": "none"}, []),
    ({"context": 1, "positions": "episode", "rtg": "none"}, ["time"])])  # fmt: skip
def test_a_policy_names_what_it_reads_when_it_acts(options, names):
    net = small_net(**options)
    inputs = first_inputs(net, [5], 3)
    assert list(inputs) == ["observation", *net.acting_inputs] == ["observation", *names]
    assert all(len(x) == 3 for x in inputs.values())
    assert torch.equal(inputs.get("return_to_go", torch.zeros(3)), torch.zeros(3))


def test_a_policy_says_whether_it_keeps_a_past_instead_of_a_window():
    assert small_net(attention="band", band=2, positions="none").keeps_past
    assert not any(small_net(model).keeps_past for model in ("dt", "mlp", "tcn", "video"))


def test_an_option_that_an_older_source_s_card_lacks_is_at_its_default(task, tmp_path):
    size, path = Size(32, 1), tmp_path / "net.safetensors"
    card = task.card(size)
    card["options"] = {name: value for name, value in card["options"].items() if name not in ("attention", "band")}
    save_network(path, task.build(size), card)
    assert network_at(str(path), task, size).attention == "full"
    wide = {"attention": "band", "band": 1, "positions": "none"}
    other = Control(task.entry, task.trajectories, replace(task.config, model_options=wide))
    with pytest.raises(UserError, match="positions=window, attention=full, band=4, this run asks for"):
        network_at(str(path), other, size)
