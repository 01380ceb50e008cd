"""Tasks of one family: a network with a code for each, a bank of several tasks, and a new task that starts from it."""

import numpy as np
import pytest
import torch
from conftest import TINY, TINY_PRETRAIN, made_up, write_hdf5
from shared_envs import refusal

from weit_rl.agents.actor_networks import composed, known_body, trained
from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.bank_bodies import CODES, body_names, task_names
from weit_rl.envs.environment_entry import EnvEntry
from weit_rl.envs.registry import ENVS
from weit_rl.evaluate import main as evaluate
from weit_rl.models import MODELS
from weit_rl.models.policy import CODE
from weit_rl.options.command import compose
from weit_rl.pretrain import main as pretrain
from weit_rl.tasks.control_options import control_task
from weit_rl.train import main as train
from weit_rl.training.checkpoint import load_network
from weit_rl.workflows.run_setup import bank_network, bank_of
from weit_rl.workflows.source_network import network_at

TASKS = ("toy/a", "toy/b", "toy/c")
OBSERVATION, ACTION = 3, 1
MODELS_OF_STATES = ("dt", "mlp", "tcn")


def register(members):
    for name in TASKS:
        entry = EnvEntry(name, "Pendulum-v1", "weit_rl.envs.any_gymnasium:make", episode_steps=200, family="toy")
        members[name] = entry


@pytest.fixture(scope="module", autouse=True)
def family():
    """Registers a family of three tasks, which all are the pendulum."""
    ENVS.load()
    members, ENVS.members = ENVS.members, dict(ENVS.members)
    register(ENVS.members)
    yield
    ENVS.members = members


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Writes made-up episodes of every task; those of the second one lie elsewhere."""
    folder, found = tmp_path_factory.mktemp("data"), []
    for number, name in enumerate(TASKS):
        episodes = made_up([20, 20, 20], OBSERVATION, ACTION)
        ends = np.zeros(60, bool)
        ends[19::20] = True
        arrays = {key: getattr(episodes, key) for key in ("observations", "actions", "rewards")}
        arrays["observations"] = arrays["observations"] + 10 * (number == 1)
        path = folder / f"{name[-1]}.hdf5"
        write_hdf5(path, arrays | {"terminals": ends & False, "timeouts": ends})
        found.append(str(path))
    return dict(zip(TASKS, found, strict=True))


@pytest.fixture(scope="module")
def bank(data, tmp_path_factory):
    """Pre-trains a bank of two tasks."""
    folder = tmp_path_factory.mktemp("bank") / "run"
    words = ["env=[toy/a,toy/b]", f"data=[{data['toy/a']},{data['toy/b']}]", "episodes=1", "score_sizes=[]"]
    pretrain(compose("pretrain", [*TINY_PRETRAIN, *words, "model=mlp", "rtg=none", f"run_dir={folder}"]))
    return folder / "bank.safetensors"


def task_of(bank, name, data):
    """Returns the control task of an environment, as training from the bank has it."""
    words = [*TINY, f"env={name}", f"data={data[name]}", "model=mlp", "rtg=none"]
    return control_task(compose("train", words), 16)


def inputs(count=4, steps=3):
    torch.manual_seed(0)
    seen, acted = torch.randn(count, steps, OBSERVATION), torch.randn(count, steps, ACTION)
    return seen, acted, torch.randn(count, steps), torch.arange(steps).expand(count, -1)


@pytest.mark.parametrize("model", MODELS_OF_STATES)
def test_a_network_of_one_task_acts_as_the_network_of_all(model):
    net = MODELS.get(model).build(Size(32, 2), OBSERVATION, ACTION, context=3, codes=3).eval()
    whole = net(*inputs(), task=torch.tensor([0, 1, 2, 1]))
    for row, task in enumerate((0, 1, 2, 1)):
        assert torch.allclose(net.of_task(task)(*inputs())[row], whole[row], atol=1e-6)
    assert not torch.allclose(whole[0], net.of_task(1)(*inputs())[0], atol=1e-4)
    assert torch.allclose(net.act(*inputs()), net.of_task(0)(*inputs())[:, -1], atol=1e-6)


@pytest.mark.parametrize("model", MODELS_OF_STATES)
def test_other_environments_have_no_codes(model):
    torch.manual_seed(0)
    plain = MODELS.get(model).build(Size(32, 2), OBSERVATION, ACTION, context=3)
    torch.manual_seed(0)
    coded = MODELS.get(model).build(Size(32, 2), OBSERVATION, ACTION, context=3, codes=1)
    own, more = dict(plain.named_parameters()), dict(coded.named_parameters())
    assert more.keys() - own.keys() == {"task_code", "embed_code"} and all(torch.equal(own[k], more[k]) for k in own)


def test_the_last_state_of_an_mlp_knows_the_code():
    net = MODELS.get("mlp").build(Size(32, 2), OBSERVATION, ACTION, codes=1, rtg="none").eval()
    seen, *others = inputs()
    assert torch.allclose(net.features(seen[:, 0]), net(seen, *others, head=False)[:, 0], atol=1e-5)


def test_a_bank_of_a_family_is_of_one_body(bank):
    read = TemplateBank.load(bank)
    assert body_names(read) == ["toy"] and task_names(read, "toy") == ["toy/a", "toy/b"]
    assert read.source[CODES].shape == (1, 1, 2, CODE) and not any(name.startswith("body.") for name in read.source)


def test_the_normaliser_is_of_all_tasks(bank, data):
    mean = TemplateBank.load(bank).source["buffer.observation_mean"]
    alone = [task_of(bank, name, data).trajectories.statistics().mean for name in ("toy/a", "toy/b")]
    assert torch.allclose(mean, torch.from_numpy(np.mean(alone, axis=0)), atol=1e-4)


def test_a_known_task_has_its_code_and_a_new_one_their_mean(bank, data):
    read = TemplateBank.load(bank)
    nets = {}
    for name in TASKS:
        task = task_of(bank, name, data)
        own = bank_of(read, task)
        nets[name] = bank_network(own, task)
        assert own.card["new_tasks"] == ([] if name != "toy/c" else ["toy/c"]) and not own.card["untrained_body"]
    assert torch.equal(nets["toy/b"].task_code[0], read.source[CODES][0, 0, 1])
    torch.testing.assert_close(nets["toy/c"].task_code[0], read.source[CODES][0, 0].mean(0))
    a, c = nets["toy/a"], nets["toy/c"]
    for name in ("embed_observation.weight", "embed_code", "head.weight", "observation_mean", "observation_std"):
        assert torch.equal(a.state_dict()[name], c.state_dict()[name])


def test_another_body_gets_nothing_of_the_family(bank, data):
    task = control_task(compose("train", [*TINY, "env=gym:Pendulum-v1", f"data={data['toy/a']}", "model=mlp"]), 16)
    own = bank_of(TemplateBank.load(bank), task)
    assert own.card["new_body"] and not own.card["new_tasks"]


def test_a_new_task_is_trained_from_it(bank, data, tmp_path):
    more = ["size=96x3", "scaler_steps=6", "train_steps=3", "validation_episodes=0", f"run_dir={tmp_path / 'run'}"]
    words = [*TINY, "env=toy/c", f"data={data['toy/c']}", "model=mlp", "rtg=none", f"bank={bank}", *more]
    report = train(compose("train", words))
    net, card = load_network(tmp_path / "run" / "checkpoints" / "last.safetensors")
    assert report["env"] == "toy/c" and card["options"]["codes"] == 1 and net.task_code.shape == (1, CODE)
    size, actor, whole = trained(tmp_path / "run", (OBSERVATION, ACTION))
    seen, *others = inputs()
    assert size == Size(96, 3) and not hasattr(actor, "task_code")
    assert torch.allclose(actor.features(seen[:, 0]), whole(seen, *others, head=False)[:, 0], atol=1e-5)


@pytest.mark.parametrize("body", ["toy/b", "auto"])
def test_an_actor_has_the_code_in_its_embedding(bank, body):
    read = TemplateBank.load(bank)
    body = known_body(read, body, (OBSERVATION, ACTION))
    net, whole = composed(read, (OBSERVATION, ACTION), Size(64, 2), body)
    seen, *others = inputs()
    assert torch.allclose(net.features(seen[:, 0]), whole(seen, *others, head=False)[:, 0], atol=1e-4)


def test_one_network_learns_several_tasks_and_is_evaluated_in_each(bank, data, tmp_path):
    several = ["env=[toy/a,toy/c]", f"data=[{data['toy/a']},{data['toy/c']}]", "model=mlp", "rtg=none"]
    more = ["size=64x2", "scaler_steps=4", "train_steps=2", "validation_episodes=1", f"run_dir={tmp_path / 'run'}"]
    report = train(compose("train", [*TINY, *several, *more, f"bank={bank}", "episodes=1"]))
    assert set(report["tasks"]) == {"toy/a", "toy/c"} and report["env"] == ["toy/a", "toy/c"]
    run = f"run={tmp_path / 'run'}"
    assert set(evaluate(compose("evaluate", [run, "episodes=1"]))["tasks"]) == {"toy/a", "toy/c"}
    assert evaluate(compose("evaluate", [run, "episodes=1", "env=toy/c"]))["env"] == "toy/c"
    with pytest.raises(UserError, match=r"env=toy/b: run=.* does other tasks"):
        evaluate(compose("evaluate", [run, "episodes=1", "env=toy/b"]))
    with pytest.raises(UserError, match="does 2 tasks; give a network of one"):
        trained(tmp_path / "run", (OBSERVATION, ACTION))


@pytest.fixture(scope="module")
def several(data, tmp_path_factory):
    """Trains one plain network for two tasks."""
    folder = tmp_path_factory.mktemp("several") / "run"
    words = ["env=[toy/a,toy/b]", f"data=[{data['toy/a']},{data['toy/b']}]", "model=mlp", "rtg=none", "size=64x2"]
    train(
        compose("train", [*TINY, *words, "init=scratch", "train_steps=8", "validation_episodes=0", f"run_dir={folder}"])
    )
    return folder


@pytest.mark.parametrize("init", ["bot", "ligo", "svd_bank", "weight_selection", "pruning"])
def test_a_plain_network_of_several_tasks_is_a_source_for_a_new_one(init, several, data, tmp_path):
    source = load_network(several / "checkpoints" / "last.safetensors")[0]
    words = [*TINY, "env=toy/c", f"data={data['toy/c']}", "model=mlp", "rtg=none", "validation_episodes=0", "seed=1"]
    more = ["size=64x2", f"init={init}", "scaler_steps=0", "train_steps=0", f"source={several}"]
    train(compose("train", [*words, *more, f"run_dir={tmp_path / 'run'}"]))
    net, card = load_network(tmp_path / "run" / "checkpoints" / "last.safetensors")
    assert card["options"]["codes"] == 1 and torch.allclose(net.task_code[0], source.task_code.mean(0))
    own, trained = net.state_dict(), source.state_dict()
    for name in ("embed_observation.weight", "embed_code", "head.weight", "observation_mean", "observation_std"):
        fitted = name == "head.weight" and init == "svd_bank"  # to the new task, since no step follows
        assert torch.allclose(own[name], trained[name], atol=1e-6) != fitted, name


def test_a_plain_network_of_several_tasks_keeps_the_code_of_a_known_one(several, data):
    source = load_network(several / "checkpoints" / "last.safetensors")[0]
    task = task_of(None, "toy/b", data)
    net = network_at(str(several), task, Size(96, 3))
    assert net.codes == 1 and torch.equal(net.task_code[0], source.task_code[1])
    assert torch.allclose(net(*inputs()), source.of_task(1)(*inputs()))


def test_a_source_of_a_family_is_refused_for_another_environment(several, data):
    words = [*TINY, "env=gym:Pendulum-v1", f"data={data['toy/a']}", "model=mlp", "rtg=none"]
    task = control_task(compose("train", words), 16)
    line = refusal(network_at, str(several), task, Size(96, 3))
    assert line.endswith("was trained for 2 tasks of toy, not for gym:Pendulum-v1; give a source made for that")


def test_several_bodies_are_no_tasks_of_one_network():
    with pytest.raises(UserError, match="one network does tasks of one family only, and these are of 2 bodies"):
        train(compose("train", [*TINY, "env=[toy/a,Hopper]"]))


def test_options_of_the_data_are_of_every_task(data):
    words = ["env=[toy/a,toy/b]", f"data=[{data['toy/a']},{data['toy/b']}]", "data_episodes=1", "model=mlp"]
    task = control_task(compose("train", [*TINY, *words]), 16)
    assert task.windows.steps == 40 and task.held_windows.steps == 40
    counts = torch.bincount(torch.cat([task.batch(step)["task"] for step in range(40)]))
    assert len(counts) == 2 and counts.min() > 0.7 * counts.max()


def test_a_column_that_only_trembles_stays_small(data):
    task = control_task(compose("train", [*TINY, "env=toy/a", f"data={data['toy/a']}", "model=mlp"]), 16)
    noise = np.random.default_rng(0).normal(size=len(task.trajectories.rewards))
    task.trajectories.observations[:, 2] = 0.3 + 1e-6 * noise
    std = task.build(Size(32, 1)).observation_std
    assert std[2] == pytest.approx(0.01 * float(np.median(task.trajectories.observations.std(axis=0))), rel=1e-3)
    task.family = ""
    assert task.build(Size(32, 1)).observation_std[2] < 1e-4
