"""Options of models: read off constructors, so that a new one touches the model's own file alone."""

import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from conftest import small_net

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.comparison.grid import Grid
from weit_rl.core.bank_match import check_bank
from weit_rl.deploy.policy_step import first_inputs
from weit_rl.evaluate import main as evaluate
from weit_rl.export import main as export
from weit_rl.models import MODELS, Model
from weit_rl.models.constructor_options import options_of
from weit_rl.models.mlp import MLP, plan
from weit_rl.models.registry import command_options
from weit_rl.options.command import compose
from weit_rl.pretrain import main as pretrain
from weit_rl.tasks.control import Control
from weit_rl.train import main as train
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.vision.describe_sizes import describe
from weit_rl.workflows.source_network import network_at

POLICY = {
    "rtg": "latest",
    "past_actions": False,
    "positions": "window",
    "dropout": 0.0,
    "attention": "full",
    "band": 4,
    "activation": "relu",
}
WORDED = {name: value for name, value in POLICY.items() if name != "activation"}  # a card has these always


class Scaled(MLP):
    """A policy with an option of its own, and another default than its base class has."""

    def __init__(self, size, observation_dim, action_dim, context=1, gain=2.0, dropout=0.1, **options):
        super().__init__(size, observation_dim, action_dim, context, dropout=dropout, **options)
        self.gain = gain


def plain(size, observation_dim, action_dim, context, max_steps, gain=1.0):
    """Build a network that has none of the policies' options."""
    return MLP(size, observation_dim, action_dim, context, max_steps=max_steps)


def bare(size, observation_dim, action_dim, context, max_steps):
    """Build a network without options."""
    return MLP(size, observation_dim, action_dim, context, max_steps=max_steps)


@pytest.fixture
def added():
    """Add three models of other packages, as their entry points do."""
    with MODELS.temporarily({"scaled": Model(Scaled, plan), "plain": Model(plain, plan), "bare": Model(bare, plan)}):
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
    config = replace(task.config, model="scaled", model_options={"dropout": 0.3, "gain": 5.0})
    task = Control(task.entry, task.trajectories, config)
    net = task.build(Size(32, 1))
    assert (net.gain, net.blocks[0].dropout.p) == (5.0, 0.3)
    assert task.card(Size(32, 1))["options"] == {
        **WORDED, "observation_dim": 17, "action_dim": 6, "context": 4, "max_steps": 1000, "dropout": 0.3, "gain": 5.0
    }  # fmt: skip


def test_a_task_takes_every_option_of_its_model(task):
    own = {"rtg": "none", "positions": "none", "attention": "band", "band": 1}
    task = Control(task.entry, task.trajectories, replace(task.config, model_options=own))
    net = task.build(Size(32, 1))
    assert (net.rtg, net.positions, net.attention, net.band) == ("none", "none", "band", 1)


@pytest.mark.parametrize(("changes", "says"), [
    ({"model_options": {"bandd": 3}}, "unknown option of model=dt 'bandd'; did you mean band?"),
    ({"model": "plain", "model_options": {"band": 3}}, "unknown option of model=plain .band.; did you mean gain"),
    ({"model": "bare", "model_options": {"band": 3}}, "model_options={band: 3}: model=bare has none"),
    ({"model_options": {"band": "x"}}, "band=x: must be an integer"),
    ({"model_options": {"band": True}}, "band=True: must be an integer"),
    ({"model_options": {"rtg": None}}, "rtg=None: must be a text"),
    ({"model_options": {"dropout": 2}}, "dropout=2: must be from 0 to 0.99"),
    ({"model": "scaled", "model_options": {"gain": "x"}}, "gain=x: must be a number")])  # fmt: skip
def test_an_option_that_a_model_cannot_have_is_refused(task, added, changes, says):
    with pytest.raises(UserError, match=says):
        Control(task.entry, task.trajectories, replace(task.config, **changes))


def test_words_of_a_command_and_model_options_are_the_same_options(added):
    def options(*words):
        return command_options(compose("train", words))

    words = options("attention=band", "band=2", "positions=none", "dropout=0.2")
    assert words == options("model_options={attention: band, band: 2, positions: none, dropout: 0.2}")
    assert words == options("model_options={attention: band, band: 2, positions: none}", "dropout=0.2", "band=2")
    with pytest.raises(UserError, match="band=3: model_options says band=2; leave one of them out"):
        options("band=3", "model_options={band: 2}")
    with pytest.raises(UserError, match="rtg=none: model=plain has no such option; leave rtg out"):
        options("model=plain", "rtg=none")
    assert command_options(compose("pretrain", ["model=plain"])) == {}  # its dropout of 0.1 was not asked for


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


REFUSED = [
    (["model_options={bandd: 3}"], "unknown option of model=dt 'bandd'; did you mean band?"),
    (["model_options={band: x}"], "band=x: must be an integer"),
    (["model_options=band"], "model_options=band: must be a mapping such as {name: 1}"),
    (["band=3", "model_options={band: 2}"], "band=3: model_options says band=2; leave one of them out"),
    (["model_options={context: 3}"], "unknown option of model=dt 'context'"),
    (["model_options={attention: bnd}"], "this run asks for attention=bnd"),
    (["init=scratch", "model_options={attention: bnd}"], "attention=bnd: DecisionTransformer has full, band only"),
    (
        ["model_options={attention: band, positions: none}"],
        "made with attention=full, this run asks for attention=band",
    ),
    (["model=mlp", "init=scratch", "model_options={attention: band}"], "attention=band: MLP has full only"),
]


@pytest.mark.parametrize(("given", "says"), REFUSED)
def test_train_refuses_model_options_in_one_line(refused, words, given, says):
    assert says in refused("train", *words["train"], *given)


def test_the_other_commands_refuse_them_too(refused, words):
    wrong, says = "model_options={bandd: 3}", "unknown option of model=dt 'bandd'; did you mean band?"
    assert says in refused("pretrain", *words["pretrain"], wrong)
    assert says in refused("benchmark", words["train"][-3], wrong)


def test_a_run_its_bank_and_what_is_made_of_it_have_the_model_s_options(words, refused, tmp_path):
    own = "model_options={attention: band, band: 2, positions: none}"
    pretrain(compose("pretrain", [*words["pretrain"][:-1], own, "steps=2", f"run_dir={tmp_path / 'bank'}"]))
    given = [*words["train"][:-2], f"bank={tmp_path / 'bank'}", "validation_episodes=0", "scaler_steps=2"]
    given += ["train_steps=2", f"run_dir={tmp_path / 'run'}"]
    assert "was made with attention=band band=2, this run asks for attention=full" in refused("train", *given)
    said = refused("train", *given, "model_options={attention: band, band: 1, positions: none}")
    assert "was made with band=2, this run asks for band=1; make them the same" in said
    train(compose("train", [*given, "attention=band", "band=2", "positions=none"]))  # the same as words
    shutil.rmtree(tmp_path / "run")
    train(compose("train", [*given, own]))
    run = tmp_path / "run"
    stored = yaml.safe_load((run / "config.yaml").read_text())["model_options"]
    assert stored == {"attention": "band", "band": 2, "positions": "none"}
    net, card = load_network(run / "checkpoints" / "last.safetensors")
    assert stored.items() <= card["options"].items() and (net.keeps_past, net.band) == (True, 2)
    report = evaluate(compose("evaluate", [f"run={run}", "episodes=1", "checkpoint=last"]))
    assert report["episodes"] == 1
    written = export(compose("export", [f"run={run}", "episodes=1", "checkpoint=last", "format=torch_export"]))
    assert written["file"]["model"] == "dt" and written["float32"]["difference"] < 1e-5


def test_a_bank_and_a_run_of_another_package_s_model_share_its_options(words, refused, added, tmp_path):
    own = ["model=scaled", "dropout=0"]
    bank = [*words["pretrain"][:-1], *own, "model_options={gain: 5}", "steps=2", f"run_dir={tmp_path / 'bank'}"]
    pretrain(compose("pretrain", bank))
    given = [*words["train"][:-2], *own, f"bank={tmp_path / 'bank'}", "validation_episodes=0", "scaler_steps=2"]
    given += ["train_steps=2", f"run_dir={tmp_path / 'run'}"]
    says = "bank: was made with gain=5, this run asks for gain=2; make them the same"
    assert says in refused("train", *given, "model_options={gain: 2}")
    train(compose("train", given))  # takes the bank's
    path = tmp_path / "run" / "checkpoints" / "last.safetensors"
    assert load_network(path)[0].gain == 5
    source = [*given, "init=bot", f"source={path}"]
    assert "was made with gain=5, this run asks for gain=2" in refused("train", *source, "model_options={gain: 2}")
    assert "unknown option of model=scaled 'gian'; did you mean gain?" in refused(
        "train", *given, "model_options={gian: 5}"
    )


def test_an_option_for_training_alone_may_differ_from_the_bank_s():
    made, usual = {"config": {"model_options": {"noise": 1.0}}}, {"noise": 0.0}
    with pytest.raises(UserError, match=r"was made with noise=1\.0, this run asks for noise=0\.0"):
        check_bank(made, "dt", {}, usual)
    check_bank(made, "dt", {}, usual, free=("noise",))
    with pytest.raises(UserError, match="its card does not fit its tensors"):
        check_bank({"config": {"model_options": 3}}, "dt", {}, usual)


def test_every_run_of_a_comparison_has_the_model_s_options(tmp_path):
    own = "model_options={attention: band, positions: none, band: 3}"
    grid = Grid.of(compose("benchmark", ["env=HalfCheetah", own]))
    given = {"attention": "band", "positions": "none", "band": 3}
    assert grid.train_options().model_options == grid.pretrain_options().model_options == given
    assert Grid.of(compose("benchmark", [])).train_options().model_options == {}


def test_a_network_of_images_takes_the_same_option_by_both_words():
    pytest.importorskip("timm", reason="classifiers are timm's: pip install 'weit_rl[vision]'")
    sizes = [describe(compose("vision", ["mode=describe", "sizes=[64x2]", word]))["sizes"]["64x2"]
             for word in ("patch_size=8", "model_options={patch_size: 8}", "patch_size=4")]  # fmt: skip
    assert sizes[0] == sizes[1] != sizes[2]
    for wrong, says in (
        ("{patch_siz: 8}", "'patch_siz'; did you mean patch_size?"),
        ("{rtg: none}", "unknown option of"),
    ):
        with pytest.raises(UserError, match=says):
            describe(compose("vision", ["mode=describe", "model=vit", f"model_options={wrong}"]))
