"""Environments: every registered one, and how they are found."""

import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from shared_envs import METAWORLD, MUJOCO, SUITE, refusal

import weit_rl.envs
from weit_rl.envs.reference_returns import REFERENCES
from weit_rl.envs.registry import ENVS, env_entry

LISTED = ENVS.names()
# One of each kind: plain, bounds that differ between actions, observations with single numbers, sparse, early end.
KINDS = ("cheetah-run", "quadruped-walk", "walker-walk", "reacher-easy", "point_mass-hard")
NAMES = [*MUJOCO, *(pytest.param(f"dmc/{kind}", marks=SUITE) for kind in KINDS)]
NAMES += [pytest.param(f"metaworld/{task}", marks=METAWORLD) for task in ("drawer-open-v3", "plate-slide-side", "push")]
NAMES += ["gym:Pendulum-v1", "gym:MountainCarContinuous-v0", "gym:Ant-v5", "HalfCheetah:segments=2:torso=1.25"]


@pytest.mark.usefixtures("full_episodes")
@pytest.mark.parametrize("name", NAMES)
def test_makes_flat_float32_observations_and_acts_in_minus_one_to_one(name):
    entry = env_entry(name)
    env = entry.make()
    observation, _ = env.reset(seed=3)
    stepped = env.step(env.action_space.sample())[0]
    assert env.observation_space.dtype == observation.dtype == stepped.dtype == np.float32
    assert env.observation_space.contains(observation) and observation.ndim == 1
    assert env.action_space == spaces.Box(-1, 1, (entry.sizes[1],), np.float32)
    assert entry.own_spaces == (env.observation_space, env.unwrapped.action_space)
    assert entry.sizes == (observation.shape[0], env.unwrapped.action_space.shape[0])
    assert env.spec.max_episode_steps == entry.episode_steps
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_episode(name):
    env, other = env_entry(name).make(), env_entry(name).make()
    first = env.reset(seed=5)[0]
    assert np.array_equal(first, other.reset(seed=5)[0]) and not np.array_equal(first, other.reset(seed=6)[0])
    assert np.array_equal(first, env.reset(seed=5)[0])


def test_a_new_environment_is_one_new_file(monkeypatch, tmp_path):
    row = "ENVS.add('Mine', EnvEntry('Mine', 'Mine-v0', 'a:b', 0.0, 1.0))"
    (tmp_path / "a_new_family.py").write_text(f"from weit_rl.envs.registry import ENVS, EnvEntry\n{row}\n")
    monkeypatch.setattr(weit_rl.envs, "__path__", [*weit_rl.envs.__path__, str(tmp_path)])
    with ENVS.temporarily():
        ENVS.load(again=True)
        assert env_entry("Mine").gym_id == "Mine-v0"
    assert "Mine" not in ENVS.names()
    sys.modules.pop("weit_rl.envs.a_new_family")


# --- reference returns


def test_every_reference_is_of_an_environment_and_has_a_source():
    assert REFERENCES.keys() <= set(LISTED)
    for name in LISTED:
        entry = env_entry(name)
        assert bool(entry.source) == (entry.random_return is not None), name
        if entry.expert_return is not None:
            assert entry.score(entry.random_return) == 0 and entry.score(entry.expert_return) == pytest.approx(100)
        else:
            assert entry.score(1.0) is None
    assert all(env_entry(name).random_return is not None for name in MUJOCO)


def test_a_score_is_called_d4rls_only_where_it_is():
    assert env_entry("Hopper").score_name == "D4RL-reference-normalised score"
    assert env_entry("dmc/walker-walk").score_name == "reference-normalised score"


# --- names


@pytest.mark.parametrize(("name", "near"), [("HalfCheeta", "HalfCheetah"), ("dmc/cheetah-rum", "dmc/cheetah-run")])
def test_unknown_name_suggests_the_nearest(name, near):
    says = refusal(env_entry, name)
    assert (
        f"did you mean {near}?" in says
        and "Hopper" in says
        and "dmc/..., metaworld/..., gym:ID" in says
        and len(says) < 300
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gym:Pendulun-v1", "Did you mean: `Pendulum`?"),
        ("gym:Pendulum-v7", "version `v7`"),
        ("gym:no such", "Malformed"),
        ("gym:no_such_module:X-v0", "No module named 'no_such_module'"),
        ("gym:Blackjack-v1", "registered without max_episode_steps"),
    ],
)
def test_unknown_gymnasium_ids_are_one_line(name, says):
    assert refusal(env_entry, name).startswith(f"env {name}: ") and says in refusal(env_entry, name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gym:CartPole-v1", "its actions are Discrete(2)"),
        ("gym:Taxi-v4" if "Taxi-v4" in gymnasium.registry else "gym:Taxi-v3", "its observations are Discrete(500)"),
        pytest.param("dmc/lqr-lqr_2_1", "its actions lie in [-inf, inf]", marks=SUITE),
    ],
)
def test_environments_that_do_not_fit_are_one_line(name, says):
    assert f"env {name}: {says}" in refusal(env_entry(name).make)


def test_a_gymnasium_id_may_name_the_module_that_registers_it(tmp_path, monkeypatch):
    row = "gymnasium.register('Mine-v0', 'gymnasium.envs.classic_control:PendulumEnv', max_episode_steps=7)"
    (tmp_path / "a_module_of_mine.py").write_text(f"import gymnasium\n{row}\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert env_entry("gym:a_module_of_mine:Mine-v0").episode_steps == 7
    finally:
        gymnasium.registry.pop("Mine-v0", None)


def test_names_are_parts_of_file_names():
    names = {env_entry(name).slug for name in [*LISTED, "gym:Pendulum-v1"]}
    assert len(names) == len(LISTED) + 1 and not {c for name in names for c in name} & set("/: ")


# --- the suite


@SUITE
def test_the_list_of_the_suite_is_dm_controls():
    from dm_control import suite

    ours = {name.removeprefix("dmc/") for name in LISTED if name.startswith("dmc/")}
    assert ours == {f"{domain}-{task}" for domain, task in suite.ALL_TASKS}


@SUITE
def test_observations_of_the_suite_are_in_its_order():
    env = env_entry("dmc/walker-walk").make()
    seen = env.reset(seed=1)[0]
    control = env.unwrapped.control
    parts = control.task.get_observation(control.physics)
    assert list(parts) == ["orientations", "height", "velocity"]
    assert np.array_equal(seen, np.concatenate([np.ravel(part) for part in parts.values()]).astype(np.float32))


@SUITE
def test_an_episode_of_the_suite_ends_by_its_time():
    env = env_entry("dmc/point_mass-easy").make()
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[1:4] for _ in range(1000)]
    assert ends[-1][1:] == (False, True) and not any(over or cut for _, over, cut in ends[:-1])
    assert all(0 <= reward <= 1 for reward, *_ in ends)
