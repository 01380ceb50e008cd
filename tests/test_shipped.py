"""The data and the bank that ship: their size, what they say of themselves, and that they are what they say."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from conftest import TINY

from weit_rl.common.seeds import VALIDATION_SEED
from weit_rl.common.sizes import LADDER, Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.network_from_bank import network_of_size, start_loss
from weit_rl.data import load_trajectories
from weit_rl.data.readers import SHIPPED, shipped_levels
from weit_rl.envs.registry import env_entry
from weit_rl.models.shipped_banks import BANKS, own_bank, shipped_bank
from weit_rl.options.command import compose
from weit_rl.options.option_table import plain_config
from weit_rl.tasks.control_options import control_task
from weit_rl.workflows.pretrain_run import OPTIONS_NOT_IN_CARD
from weit_rl.workflows.run_setup import bank_network
from weit_rl.workflows.train_run import TrainRun

ENTRY = env_entry("HalfCheetah")
AIMS = {"Ant": 3000, "HalfCheetah": 5000, "Hopper": 2500, "Swimmer": 200, "Walker2d": 3000}  # least returns
EVERY = [(env, level) for env in AIMS for level in ("expert", "medium", "random")]
BANK = BANKS / "HalfCheetah.safetensors"
FROZEN = yaml.safe_load((Path(__file__).parents[1] / "benchmarks" / "_shared" / "frozen.yaml").read_text())


def megabytes(*folders):
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file()) / 1e6


@pytest.mark.parametrize("env", AIMS)
def test_three_levels_ship_in_order_and_the_expert_is_one(env):
    assert shipped_levels(env_entry(env)) == ["expert", "medium", "random"]
    means = [load_trajectories(level, env_entry(env)).returns().mean() for level in ("random", "medium", "expert")]
    assert means == sorted(means) and means[1] < 0.75 * means[2] and means[2] >= AIMS[env]


def test_all_data_together_are_small():
    assert {path.name for path in SHIPPED.iterdir()} == {*AIMS, "metaworld"}
    assert megabytes(SHIPPED / "metaworld") <= 4
    assert megabytes(*(SHIPPED / env for env in AIMS)) <= 25


@pytest.mark.parametrize(("env", "level"), EVERY)
def test_a_level_names_its_origin(env, level):
    info, entry = json.loads((SHIPPED / env / level / "data" / "metadata.json").read_text()), env_entry(env)
    assert (info["level"], info["env_id"]) == (level, entry.gym_id) and "Apache-2.0" in info["license"]
    assert info["algorithm"] and info["environment_steps"] >= 0 and info["versions"]["mujoco"]
    assert info["reference_returns"] == {"random": entry.random_return, "expert": entry.expert_return}
    selection, held, recorded = (range(a, b + 1) for a, b in map(info["seeds"].get, ("selection", "held", "recorded")))
    assert not set(held) & set(recorded) and not set(selection) & set(held)
    measured = [row for name, row in info["returns"].items() if name.startswith("held_")]
    assert measured and all(row["episodes"] == len(held) for row in measured)


@pytest.mark.parametrize(("env", "level"), EVERY)
def test_a_level_has_the_returns_of_its_metadata_in_float32(env, level):
    read = load_trajectories(level, env_entry(env))
    said = read.info["returns"]["recorded"]
    assert read.returns().mean() == pytest.approx(said["return_mean"], rel=1e-3)
    assert read.episodes == said["episodes"] and np.abs(read.actions).max() <= 1
    with h5py.File(SHIPPED / env / level / "data" / "main_data.hdf5") as file:
        assert {file["episode_0"][name].dtype for name in ("observations", "actions", "rewards")} == {np.dtype("f4")}


def test_the_bank_is_small_and_has_a_card():
    card = TemplateBank.load(BANK).card
    assert megabytes(BANKS) <= 9
    assert json.loads(BANK.with_suffix(".json").read_text()) == card
    assert card["licence"] == "Apache-2.0" and card["data"]["return_mean"] >= 5000


def test_a_body_has_the_shared_bank_unless_its_own_is_better():
    shared, of_mlp = BANKS / "bodies.safetensors", BANKS / "bodies-mlp.safetensors"
    together = set(AIMS) - {"Ant"}
    assert {env for env in AIMS if shipped_bank(env, "dt") == shared} == together
    assert {env for env in AIMS if shipped_bank(env, "mlp") == of_mlp} == together - {"HalfCheetah"}
    assert shipped_bank("HalfCheetah:limbs=0.75", "dt") == shared and own_bank("HalfCheetah", "dt") == BANK
    assert shipped_bank("HalfCheetah:limbs=0.75", "mlp") == own_bank("HalfCheetah", "mlp")
    assert not shipped_bank("Ant", "dt").exists() and not shipped_bank("Hopper", "tcn").exists()


@pytest.mark.parametrize("name", ["bodies", "bodies-mlp"])
def test_the_bank_of_several_bodies_names_them(name):
    shared = BANKS / f"{name}.safetensors"
    card = TemplateBank.load(shared).card
    assert json.loads(shared.with_suffix(".json").read_text()) == card and card["licence"] == "Apache-2.0"
    assert set(card["names"]) == set(AIMS) - {"Ant"}
    plain = {
        key: value
        for key, value in plain_config(compose("pretrain")).items()
        if key not in (*OPTIONS_NOT_IN_CARD, "env")
    }
    differ = {key for key, value in card["config"].items() if key in plain and plain[key] != value}
    assert differ - {"model"} == {"precision", "score_sizes"}


@pytest.mark.usefixtures("full_episodes")
@pytest.mark.parametrize(
    "env", ["Hopper", *(pytest.param(e, marks=pytest.mark.slow) for e in ("HalfCheetah", "Swimmer", "Walker2d"))]
)
def test_a_size_that_the_shared_bank_never_sampled_acts_without_a_step(env):
    words = [f"env={env}", "size=96x4", "scaler_steps=0", "train_steps=0", "validation_episodes=0"]
    run = TrainRun(compose("train", words))
    net = run.begun()
    assert run.task.evaluate(net, 1, VALIDATION_SEED)["return_mean"] > AIMS[env] / 2


def test_the_bank_is_what_pretrain_makes():
    plain = {key: value for key, value in plain_config(compose("pretrain")).items() if key not in OPTIONS_NOT_IN_CARD}
    made = TemplateBank.load(BANK).card["config"]
    assert {**plain, **made} == plain  # options that came later stand at what was done before


def test_no_reported_size_was_sampled_or_looked_at():
    card, grid = TemplateBank.load(BANK).card, FROZEN["sampled"]
    assert set(card["sizes_sampled"]) == {f"{width}x{depth}" for width in grid["widths"] for depth in grid["depths"]}
    looked_at = {str(Size.parse(size)) for size in [*card["scores"], *FROZEN["tuning"]]}
    assert not set(FROZEN["reported"]) & (looked_at | set(card["sizes_sampled"]))


@pytest.fixture(scope="module")
def task():
    words = [word for word in TINY if not word.startswith("context")]
    return control_task(compose("train", words), tile=TemplateBank.load(BANK).card["config"]["tile"])


@pytest.mark.parametrize("size", LADDER)
def test_the_bank_starts_every_size_of_the_ladder(size, task):
    bank = TemplateBank.load(BANK)
    net = network_of_size(bank, bank_network(bank, task), task.build(LADDER[size]), task.plan)
    untrained = task.loss(task.build(LADDER[size]), task.batch(0)).item()
    assert task.loss(net, task.batch(0)).item() < untrained / 2


@pytest.mark.slow
def test_the_full_size_earns_about_the_return_of_the_card(full_episodes, task):
    bank = TemplateBank.load(BANK)
    size = Size(*bank.card["size"])
    net = network_of_size(bank, bank_network(bank, task), task.build(size), task.plan).materialize()
    said = bank.card["scores"][str(size)]["return_mean"]
    assert task.evaluate(net, 3, VALIDATION_SEED)["return_mean"] > said / 2


def test_a_size_narrower_than_any_sampled_starts_near_without_a_step():
    words = [*[word for word in TINY if not word.startswith(("context", "batch"))], "size=32x2", "scaler_steps=0"]
    runs = [TrainRun(compose("train", [*words, f"init_options={{narrow: {narrow}}}"])) for narrow in ("fitted", "cut")]
    fitted, cut = (start_loss(run.begun(), run.context(None).loss) for run in runs)
    assert fitted < cut / 2
