"""Recorded sets: Minari lists and shows them under a name of the user's choice."""

import warnings

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium.envs.classic_control import PendulumEnv
from minari.cli import app
from minari.dataset.minari_dataset import parse_dataset_id
from short_episodes import SHORT, WORDS, short  # noqa: F401
from stable_baselines3 import PPO
from typer.testing import CliRunner

from weit_rl.agents.metadata import describe
from weit_rl.agents.minari_writing import write_minari
from weit_rl.agents.recording import play, random_actor
from weit_rl.collect import main
from weit_rl.common.errors import UserError
from weit_rl.data import load_trajectories
from weit_rl.data.readers import SHIPPED
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose

NAME = "mine/short-runs/trial_1-v2"

pytestmark = pytest.mark.usefixtures("short")


@pytest.fixture
def agent(tmp_path):
    PPO("MlpPolicy", SHORT.make(), policy_kwargs={"net_arch": [8]}, device="cpu").save(tmp_path / "agent.zip")
    return tmp_path / "agent.zip"


def listed(root, monkeypatch):
    """Return the names that Minari lists, without a warning, and what its commands print."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    monkeypatch.setenv("COLUMNS", "200")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = list(minari.list_local_datasets())
    calls = [CliRunner().invoke(app, words) for words in (["list", "local"], *(["show", name] for name in names))]
    assert all(call.exit_code == 0 for call in calls), calls
    return names, "".join(call.output for call in calls)


def test_a_recorded_agent_is_listed_under_its_name(tmp_path, monkeypatch, agent):
    root = tmp_path / "minari"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    words = ["mode=record", f"env={SHORT.name}", f"agent={agent}", "allow_pickle=true", "episodes=2"]
    found = main(compose("collect", [*words, f"dataset_id={NAME}"]))
    assert found["path"] == str(root / NAME)
    names, text = listed(root, monkeypatch)
    assert names == [NAME] and "(supported)" in text and "PPO" in text
    assert minari.load_dataset(NAME).total_episodes == 2
    assert load_trajectories(NAME, SHORT).info["dataset_id"] == NAME
    with pytest.raises(UserError, match="exists and is not overwritten"):
        main(compose("collect", [*words, f"dataset_id={NAME}"]))
    placed = main(compose("collect", [*words, f"dataset_id={NAME}", f"run_dir={tmp_path / 'here'}"]))
    assert placed["path"] == str(tmp_path / "here") and load_trajectories(tmp_path / "here", SHORT).episodes == 2


def test_levels_are_listed_below_one_name(tmp_path, monkeypatch):
    words = [*WORDS, f"run_dir={tmp_path / 'run'}", "dataset_id=mine/short-v0"]
    found = main(compose("collect", words))
    names, _ = listed(tmp_path / "run" / "data", monkeypatch)
    assert names == [f"mine/short/{level}-v0" for level in ("expert", "medium", "random")]
    for level, facts in found.items():
        assert load_trajectories(facts["path"], SHORT).info["level"] == level
    assert main(compose("collect", words)) == found  # nothing is made again
    with pytest.raises(UserError, match="made with another dataset_id"):
        main(compose("collect", [*words[:-1], "dataset_id=mine/other-v0"]))


def test_an_environment_that_json_cannot_hold_is_recorded_without_its_spec(tmp_path):
    gymnasium.register("Class-v0", PendulumEnv, max_episode_steps=5)
    try:
        entry = env_entry("gym:Class-v0")
        played = play(random_actor(np.float32([-1]), np.float32([1])), entry, range(2))
        write_minari(tmp_path / "set", entry, played, describe(entry, "random", "", "random", {}))
        assert load_trajectories(tmp_path / "set", entry).info["env_id"] == "Class-v0"
    finally:
        del gymnasium.registry["Class-v0"]


@pytest.mark.parametrize(
    "name", ["hopper", "hopper-v", "../x-v0", "/x-v0", "a//b-v0", "a b-v0", "a/-v0x", "x-v0/", "", "é-v0", "a/x-v0\n"]
)
@pytest.mark.parametrize("mode", ["record", "train", "render"])
def test_names_that_minari_would_not_list_are_refused(name, mode, tmp_path):
    cfg = compose("collect", [f"mode={mode}", f"env={SHORT.name}", f"run_dir={tmp_path / 'run'}"])
    cfg.dataset_id = name
    with pytest.raises(UserError, match=r"dataset_id=.* must be a name and a version") as error:
        main(cfg)
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("env", ["HalfCheetah", "Hopper:torso=1.25", "gym:Pendulum-v1", "Reacher:pixels=64"])
@pytest.mark.parametrize("name", ["expert", "my agent é", "x-v3"])
def test_names_by_default_are_ones_that_minari_lists(env, name):
    made = describe(env_entry(env), name, "", "PPO", {})["dataset_id"]
    assert parse_dataset_id(made)[2] == 0 and made.isascii()


def test_the_sets_that_ship_have_all_that_minari_shows(tmp_path, monkeypatch):
    names = []
    for folder in sorted(path.parent for path in SHIPPED.glob("*/*/data")):
        stored = minari.MinariDataset(folder / "data")
        (tmp_path / stored.id).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / stored.id).symlink_to(folder)
        names.append(stored.id)
    assert set(listed(tmp_path, monkeypatch)[0]) == set(names) and len(names) > 10
