"""A bank for several bodies: what they share, what each keeps, and what a new one gets."""

import numpy as np
import pytest
import torch
from conftest import TINY, TINY_PRETRAIN, made_up, write_hdf5

from weit_rl.agents.trunk import known_body
from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.bank_bodies import bank_for, body_names, body_sizes, bound_parts, known_parts
from weit_rl.envs.registry import env_entry
from weit_rl.models import MODELS
from weit_rl.models.shipped_banks import shipped_bank
from weit_rl.options.command import compose
from weit_rl.pretrain import main as pretrain
from weit_rl.tasks.control_options import control_task
from weit_rl.train import main as train
from weit_rl.training.checkpoint import load_network
from weit_rl.workflows.pretrain_run import PretrainRun
from weit_rl.workflows.run_setup import bank_network, bank_of

BODIES = {"HalfCheetah": (17, 6), "Hopper": (11, 3)}
SHORT = ["episodes=1", "score_sizes=[]"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Write a file of made-up episodes for each of several bodies."""
    folder = tmp_path_factory.mktemp("data")

    def write(name, observation, action):
        episodes = made_up([30, 30, 30], observation, action)
        ends = np.zeros(90, bool)
        ends[29::30] = True
        arrays = {key: getattr(episodes, key) for key in ("observations", "actions", "rewards")}
        write_hdf5(folder / f"{name}.hdf5", arrays | {"terminals": ends & False, "timeouts": ends})
        return str(folder / f"{name}.hdf5")

    return {name: write(name, *size) for name, size in {**BODIES, "Swimmer": (8, 2)}.items()}


def words(data, *more):
    files = f"data=[{','.join(data[name] for name in BODIES)}]"
    return [*TINY_PRETRAIN, *SHORT, f"env=[{','.join(BODIES)}]", files, *more]


@pytest.fixture(scope="module", params=["dt", "mlp"])
def bank(request, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank") / "run"
    pretrain(compose("pretrain", words(data, f"model={request.param}", f"run_dir={folder}")))
    return folder / "bank.safetensors"


def task_of(bank, name, data):
    """Return the control task of a body, as training from the bank has it."""
    model = TemplateBank.load(bank).card["model"]
    return control_task(compose("train", [*TINY, f"env={name}", f"data={data[name]}", f"model={model}"]), 16)


def test_a_bank_names_its_bodies(bank):
    read = TemplateBank.load(bank)
    assert body_names(read) == list(BODIES) and body_sizes(read) == BODIES
    assert set(read.card["data"]) == set(read.card["scores"]) == set(BODIES)


def test_bodies_share_all_unbound_tensors(bank, data):
    read = TemplateBank.load(bank)
    bound = MODELS.get(read.card["model"]).bound
    own = {name: bank_of(read, task_of(bank, name, data)).source for name in BODIES}
    shared = [key for key in own["Hopper"] if key.startswith("own.") and not key[4:].startswith(bound)]
    assert len(shared) > 10 and all(torch.equal(own["Hopper"][key], own["HalfCheetah"][key]) for key in shared)
    assert own["Hopper"]["own.head.bias"].shape[-1] == 3 and own["HalfCheetah"]["own.head.bias"].shape[-1] == 6


def test_each_body_has_its_own_network_back(bank, data):
    for name in BODIES:
        task = task_of(bank, name, data)
        net = bank_network(bank_of(TemplateBank.load(bank), task), task)
        mean, _ = task.trajectories.statistics()
        assert torch.allclose(net.observation_mean, torch.from_numpy(mean))
        assert float(net.target_return) == pytest.approx(task.trajectories.target_return(), rel=1e-5)


@pytest.mark.parametrize("name", ["Hopper", "Swimmer"])
def test_known_and_new_bodies_are_trained_from_a_shared_bank(bank, data, name, tmp_path):
    model = TemplateBank.load(bank).card["model"]
    more = ["size=96x3", "scaler_steps=6", "train_steps=3", "validation_episodes=0", f"run_dir={tmp_path / 'run'}"]
    asked = [*TINY, f"env={name}", f"data={data[name]}", f"model={model}", f"bank={bank}", *more]
    report = train(compose("train", asked))
    assert np.isfinite(report["return_mean"]) and report["env"] == name
    assert load_network(tmp_path / "run" / "checkpoints" / "last.safetensors")[0].head.out_features in (2, 3)


def test_a_new_body_gets_the_blocks_and_fresh_ends(bank, data):
    read, task = TemplateBank.load(bank), task_of(bank, "Swimmer", data)
    net = bank_network(bank_of(read, task), task)
    fresh = task.build(net_size(read), 0)
    trained = bank_network(bank_of(read, task_of(bank, "Hopper", data)), task_of(bank, "Hopper", data))
    assert torch.equal(net.embed_observation.weight, fresh.embed_observation.weight)
    assert torch.equal(net.observation_mean, fresh.observation_mean)
    assert torch.equal(net.blocks[0].fc1.weight, trained.blocks[0].fc1.weight)
    assert not torch.equal(net.blocks[0].fc1.weight, fresh.blocks[0].fc1.weight)


def net_size(bank):
    return bank.network_size()


def test_a_body_of_other_proportions_keeps_the_parts_of_its_kind(tiny_bank):
    bank, model = TemplateBank.load(tiny_bank), MODELS.get("dt")
    net = model.build(net_size(bank), 17, 6, context=5)
    plan = model.plan(16)
    fresh = bound_parts(net, plan, model.bound)
    for kin in ("HalfCheetah", "HalfCheetah:limbs=0.75"):
        assert torch.equal(known_parts(bank, kin, fresh)["own.head.weight"], bank.source["own.head.weight"])
    assert known_parts(bank, "Walker2d", fresh) is None  # as large, but another body
    other = bank_for(bank, "Walker2d", net, plan, model.bound)
    assert torch.equal(other.source["own.head.weight"].flatten(), net.head.weight.detach().flatten())
    assert other.card["new_body"] and other.card["untrained_body"]
    known, kin = (bank_for(bank, name, net, plan, model.bound).card for name in ("HalfCheetah", kin))
    assert not known["new_body"] and not kin["new_body"] and kin["untrained_body"] and not known["untrained_body"]
    longer = bound_parts(model.build(net_size(bank), 19, 7, context=5), plan, model.bound)
    assert known_parts(bank, "HalfCheetah:segments=2", longer) is None


def test_bodies_are_trained_in_turn(data):
    run = PretrainRun(compose("pretrain", words(data)))
    cheetah, hopper = run.nets
    before = [net.free["head.weight"].detach().clone() for net in run.nets]
    optimizer = torch.optim.SGD(run.shared.parameters(), lr=1.0)
    run.loss(run.nets)(0).backward()
    assert cheetah.free["head.weight"].grad is not None and hopper.free["head.weight"].grad is None
    optimizer.step()
    assert not torch.equal(cheetah.free["head.weight"], before[0]) and torch.equal(
        hopper.free["head.weight"], before[1]
    )
    assert hopper.free["norm_out.weight"] is cheetah.free["norm_out.weight"]
    assert list(hopper.scalers) == list(cheetah.scalers)
    assert all(hopper.scalers[key] is scalers for key, scalers in cheetah.scalers.items())
    optimizer.zero_grad()
    run.loss(run.nets)(1).backward()
    assert hopper.free["head.weight"].grad is not None and cheetah.free["head.weight"].grad is None
    assert len(run.shared.own()) == len({id(p) for p in run.shared.own()})


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("env=[HalfCheetah,HalfCheetah]", "name each body once"),
        ("data=[expert,expert,expert]", "give one set for each of the 2 bodies"),
        ("data=experts", "experts"),
        ("body.torso=1.25", "body.* needs a single environment"),
        ("data_weights=[1,2]", "data_weights"),
        ("env=[HalfCheetah,Hoper]", "Hoper"),
    ],
)
def test_wrong_bodies_are_refused(refused, data, tmp_path, word, message):
    asked = [w for w in words(data) if w.partition("=")[0] != word.partition("=")[0]]
    assert message in refused("pretrain", *asked, f"run_dir={tmp_path / 'run'}", word)


def test_the_registry_has_the_bodies():
    assert {name: env_entry(name).sizes for name in BODIES} == BODIES


def test_the_name_decides_between_bodies_of_one_size():
    bank = TemplateBank.load(shipped_bank("Walker2d", "dt"))
    assert known_body(bank, "auto", (17, 6), "Walker2d") == "Walker2d"
    assert known_body(bank, "auto", (11, 3), "Walker2d") == "Hopper"
    assert known_body(bank, "auto", (27, 8), "Walker2d") == "new"
    with pytest.raises(UserError, match="HalfCheetah and Walker2d of the bank are as large; name one, or body=new"):
        known_body(bank, "auto", (17, 6), "path/to/bank.safetensors")
