"""Training of behaviour and its recordings: snapshots, states, statistics and units."""

import json
from dataclasses import replace

import gymnasium
import minari
import numpy as np
import pytest
import torch
from short_episodes import SHORT, TINY

from weit_rl.agents.behaviour import BehaviourConfig, make_behaviour, train_behaviour
from weit_rl.agents.levels import LevelRecorder, choose
from weit_rl.agents.minari_writing import write_minari
from weit_rl.agents.recording import AgentActor, play, random_actor
from weit_rl.agents.snapshots import load_snapshot, load_training_state, save_training_state
from weit_rl.collect import main
from weit_rl.data import load_trajectories
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.storage.tensor_file import read_card

PPO = {"n_steps": 20, "batch_size": 20, "n_epochs": 2, "policy_kwargs": {"net_arch": [8]}}
ROLLOUTS = BehaviourConfig("PPO", steps=80, n_envs=2, snapshot_every=40, hyperparameters=PPO)


def test_training_resumes_from_its_last_snapshot(tmp_path):
    half = BehaviourConfig(steps=60, n_envs=2, snapshot_every=40, hyperparameters=TINY)
    train_behaviour(half, SHORT.make, tmp_path / "b")
    train_behaviour(BehaviourConfig(**{**vars(half), "steps": 100}), SHORT.make, tmp_path / "b")
    names = sorted(path.stem for path in (tmp_path / "b").glob("snapshot_*"))
    assert names == ["snapshot_00000040", "snapshot_00000060", "snapshot_00000100"]
    rows = (tmp_path / "b" / "progress.csv").read_text().split()[1:]
    assert [row.split(",")[0] for row in rows] == ["40", "60", "100"]


def test_choice_of_snapshots():
    assert choose({1: -3.0, 2: 60.0, 3: 40.0, 4: 100.0, 5: 90.0}) == {"expert": 4, "medium": 3, "random": 0}
    assert choose({1: -300.0, 2: -100.0, 3: -180.0}) == {"expert": 2, "medium": 3, "random": 0}
    assert choose({1: 350.0, 2: 1000.0, 3: 3100.0, 4: 3200.0})["medium"] == 2  # the first beyond half is an expert


@pytest.mark.parametrize("options", [{}, {"ent_coef": 0.1}])
def test_the_training_state_comes_back_bit_for_bit(tmp_path, options):
    config = BehaviourConfig(steps=60, n_envs=2, snapshot_every=60, hyperparameters=TINY | options)
    state = train_behaviour(config, SHORT.make, tmp_path) / "training_state.safetensors"
    agent = make_behaviour(config, SHORT.make)
    load_training_state(agent, state)
    save_training_state(agent, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == state.read_bytes()


def test_progress_shows_speed_and_time_left(tmp_path, capsys):
    train_behaviour(BehaviourConfig(steps=60, n_envs=2, hyperparameters=TINY), SHORT.make, tmp_path)
    assert "steps/s" in (shown := capsys.readouterr().out) and "left" in shown


def test_ppo_learns_from_scaled_observations_and_acts_by_its_snapshot_alone(tmp_path):
    folder = train_behaviour(ROLLOUTS, SHORT.make, tmp_path)
    agent = load_snapshot(make_behaviour(ROLLOUTS, SHORT.make), folder / "snapshot_00000080.safetensors")
    extractor = agent.policy.features_extractor
    assert extractor.count == 80 and extractor.variance.max() > 2
    shifted = torch.from_numpy(play(random_actor(-np.ones(6), np.ones(6)), SHORT, [1])[0].observations)
    assert extractor(shifted).abs().mean() < shifted.abs().mean()


def test_ppo_resumes_with_its_statistics(tmp_path):
    state = train_behaviour(ROLLOUTS, SHORT.make, tmp_path) / "training_state.safetensors"
    card = read_card(state)
    assert card["rewards"]["count"] == pytest.approx(80, abs=1) and card["step"] == 80
    agent = make_behaviour(ROLLOUTS, SHORT.make)
    load_training_state(agent, state)
    save_training_state(agent, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == state.read_bytes()


def test_running_statistics_are_those_of_everything_seen():
    from gymnasium import spaces

    from weit_rl.agents.running_statistics import ScaledObservations

    extractor = ScaledObservations(spaces.Box(-np.inf, np.inf, (3,)))
    parts = [torch.randn(n, 3) * 5 + torch.tensor([1.0, -200.0, 7.0]) for n in (7, 1, 90)]
    for part in parts:
        extractor.take_in(part)
    seen = torch.cat(parts).double()
    assert torch.allclose(extractor.mean, seen.mean(0)) and torch.allclose(
        extractor.variance, seen.var(0, unbiased=False)
    )
    assert torch.allclose(
        extractor(parts[2]), ((parts[2] - seen.mean(0)) / seen.std(0, unbiased=False)).float(), atol=1e-4
    )


@pytest.mark.parametrize("algorithm", ["PPO", "SAC"])
def test_sampled_episodes_are_repeatable_whatever_the_noise(algorithm):
    config = BehaviourConfig(algorithm, n_envs=1, hyperparameters={"use_sde": True})
    actor, drawn = AgentActor(make_behaviour(config, SHORT.make), deterministic=False), []
    for seed in (1, 1, 2):
        drawn.append(play(actor, SHORT, [seed, 3])[1].actions)
        actor.agent.policy.reset_noise()  # as acting elsewhere leaves it
    assert np.array_equal(drawn[0], drawn[1]) and np.abs(drawn[0][0] - drawn[2][0]).max() > 1e-3


def test_all_statistics_take_in_what_a_rollout_saw(tmp_path):
    policy = {"net_arch": [8], "share_features_extractor": False}
    config = replace(ROLLOUTS, hyperparameters={**PPO, "policy_kwargs": policy})
    folder = train_behaviour(config, SHORT.make, tmp_path)
    made = load_snapshot(make_behaviour(config, SHORT.make), folder / "snapshot_00000080.safetensors").policy
    extractors = {made.pi_features_extractor, made.vf_features_extractor}
    assert [extractor.count for extractor in extractors] == [80, 80]


@pytest.mark.parametrize(
    ("algorithm", "n_envs", "hyperparameters", "last"),
    [
        ("SAC", 2, TINY | {"train_freq": 50}, 100),
        ("SAC", 1, TINY | {"train_freq": [3, "episode"]}, 36),
        ("PPO", 2, PPO | {"n_steps": 50, "batch_size": 25}, 100),
    ],
)
def test_a_last_snapshot_past_the_planned_steps_counts(algorithm, n_envs, hyperparameters, last, tmp_path):
    config = BehaviourConfig(algorithm, steps=8, n_envs=n_envs, hyperparameters=hyperparameters)
    train_behaviour(config, SHORT.make, tmp_path / "behaviour")
    assert list(LevelRecorder(SHORT, config, tmp_path, 1, 1).selection_returns()) == [last]


@pytest.mark.parametrize("name", ["Pusher", "gym:Pendulum-v1"])
def test_files_hold_the_environments_own_units(name, tmp_path):
    entry = env_entry(name)
    box = entry.make().action_space
    episodes = play(random_actor(box.low, box.high), entry, [1, 2])
    write_minari(tmp_path / "set", entry, episodes, {"dataset_id": "x-v0", "env_id": entry.gym_id})
    stored = minari.MinariDataset(tmp_path / "set" / "data")
    assert stored.spec.action_space == entry.own_spaces[1] == entry.make().unwrapped.action_space
    own = np.concatenate([episode.actions for episode in stored.iterate_episodes()])
    read, played = load_trajectories(tmp_path / "set", entry), np.concatenate([e.actions for e in episodes])
    assert 1.9 < abs(own).max() <= 2 and 0.95 < abs(played).max() <= 1
    assert np.allclose(read.actions, played, atol=1e-6) and read.actions.dtype == np.float32
    env = gymnasium.make(entry.gym_id)  # what is on disk needs nothing of this program
    env.reset(seed=1)
    rewards = [env.step(action)[1] for action in stored[0].actions]
    assert np.allclose(rewards, episodes[0].rewards, atol=1e-4)


def test_metadata_of_an_environment_without_references(tmp_path):
    main(compose("collect", ["env=gym:Pendulum-v1", "steps=60", f"hyperparameters={json.dumps(TINY)}", "n_envs=1",
                             "levels.expert=0", "levels.medium=0", "selection_episodes=1", "evaluation_episodes=1",
                             "levels.random=2", f"run_dir={tmp_path / 'run'}"]))  # fmt: skip
    info = json.loads((tmp_path / "run" / "data" / "random" / "data" / "metadata.json").read_text())
    assert info["dataset_id"] == "weit_rl/gym-pendulum-v1/random-v0" and info["env"] == "gym:Pendulum-v1"
    assert info["reference_returns"] == {"random": None, "expert": None}
    minari.MinariDataset(tmp_path / "run" / "data" / "random" / "data")  # reads it
