"""Demonstrations of scripted experts: clean and noisy ones, failures left out and counted, several environments."""

import json

import numpy as np
import pytest
from shared_envs import METAWORLD

from weit_rl.agents.demonstrations import demonstrate, expert_of
from weit_rl.collect import main as collect
from weit_rl.common.errors import UserError
from weit_rl.data import load_trajectories
from weit_rl.envs.environment_entry import EnvEntry
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose

REACH = "metaworld/reach-v3"
PENDULUM = EnvEntry("Mine", "Pendulum-v1", "weit_rl.envs.any_gymnasium:make", episode_steps=200)


def still(gym_id):
    """An expert that never acts."""
    return lambda seen: np.zeros(1, np.float32)


def test_an_environment_without_successes_keeps_all_episodes():
    entry = EnvEntry("Mine", "Pendulum-v1", "weit_rl.envs.any_gymnasium:make", expert=f"{__name__}:still")
    shown = demonstrate(entry, 2, range(5), noise=0.1)
    assert [episode.seed for episode in shown.episodes] == [0, 1] and shown.failed == 0
    assert not np.any(shown.episodes[0].actions) and len(shown.episodes[0].rewards) == 200


def test_an_environment_without_an_expert_is_one_line():
    with pytest.raises(UserError, match="env Mine: has no scripted expert"):
        expert_of(PENDULUM)


def words(folder, *more):
    return ["episodes=2", f"run_dir={folder}", *more]


@METAWORLD
def test_the_expert_is_recorded_where_there_is_one(tmp_path):
    report = collect(compose("collect", words(tmp_path / "set", f"env={REACH}")))[REACH]
    data = load_trajectories(str(tmp_path / "set"), env_entry(REACH))
    assert data.episodes == 2 == report["played"] and report["failed"] == 0
    assert data.info["success_rate"] == 1.0 and data.info["noise"] == 0.0


@METAWORLD
def test_noise_is_executed_and_labels_are_the_experts(tmp_path):
    entry = env_entry(REACH)
    clean, noisy = (demonstrate(entry, 1, range(7, 9), noise) for noise in (0.0, 0.4))
    act = expert_of(entry)
    one, other = clean.episodes[0], noisy.episodes[0]
    assert np.array_equal(one.observations[0], other.observations[0]) and np.array_equal(
        one.actions[0], other.actions[0]
    )
    assert not np.allclose(one.observations[1], other.observations[1])
    labels = [act(seen) for seen in other.observations[:-1]]
    assert np.array_equal(other.actions, np.stack(labels))
    again = demonstrate(entry, 1, range(7, 9), 0.4).episodes[0]
    assert np.array_equal(other.observations, again.observations)


@METAWORLD
def test_failures_are_left_out_and_counted(tmp_path):
    name = "metaworld/assembly-v3"
    report = collect(compose("collect", words(tmp_path / "set", f"env={name}", "noise=0.6", "episodes=3")))[name]
    metadata = json.loads((tmp_path / "set" / "data" / "metadata.json").read_text())
    assert report["failed"] > 0 and report["returns"]["episodes"] + report["failed"] == report["played"]
    assert (metadata["played_episodes"], metadata["failed_episodes"]) == (report["played"], report["failed"])
    assert metadata["total_episodes"] == report["returns"]["episodes"]
    with pytest.raises(UserError, match="its expert failed in all 3 episodes with noise=2"):
        demonstrate(env_entry(name), 1, range(3), noise=2)


@METAWORLD
def test_several_environments_have_a_folder_each_and_a_stopped_command_goes_on(tmp_path):
    several = words(tmp_path / "sets", "env=[metaworld/reach, metaworld/window-open]")
    assert set(collect(compose("collect", several))) == {REACH, "metaworld/window-open-v3"}
    for name in (REACH, "metaworld/window-open-v3"):
        assert load_trajectories(str(tmp_path / "sets"), env_entry(name)).episodes == 2
    assert collect(compose("collect", several)) == {}


@METAWORLD
@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["noise=-1"], "noise=-1.0: must be 0 to 2"),
        (["episodes=0"], "episodes=0: must be 1 to 20000"),
        (["dataset_id=mine/set-v0", "env=metaworld/MT10"], "dataset_id=mine/set-v0: names one set"),
        (["mode=train", "env=metaworld/MT10"], "mode=train is for a single environment"),
        (["mode=demonstrate", "env=Hopper"], "env Hopper: has no scripted expert"),
        (["env=Hopper", "noise=0.1"], "noise=0.1: is for mode=demonstrate, and this is mode=train"),
    ],
)
def test_bad_words_are_one_line_and_nothing_is_written(more, says, tmp_path):
    usual = [f"run_dir={tmp_path / 'set'}", *([] if any("env=" in word for word in more) else [f"env={REACH}"])]
    with pytest.raises(UserError) as error:
        collect(compose("collect", [*usual, *more]))
    assert says in str(error.value) and "\n" not in str(error.value) and list(tmp_path.iterdir()) == []
