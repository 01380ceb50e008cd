"""A failed simulation ends an episode; mistakes of callers and programs are raised, and wrong environments refused."""

# ruff: noqa: F811  (fixtures are imported, and are also names of arguments)

import importlib.util
from dataclasses import replace

import gymnasium
import mujoco
import numpy as np
import pytest
from faulty_env import ENTRY, STEPS, WORDS, data, faulty, net, zeros  # noqa: F401
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from shared_envs import SUITE, refusal
from stable_baselines3 import PPO

from weit_rl.agents.evaluation import rollout
from weit_rl.agents.online import environments
from weit_rl.agents.recording import play
from weit_rl.agents.video import choose_renderer
from weit_rl.common.errors import UserError
from weit_rl.envs.crashes import BadAction, one_number
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.train import main as train

# --- what is raised, and what ends an episode


class SolverError(Exception):
    """An error class that a simulator defines."""


FAILURES = [FloatingPointError("x"), np.linalg.LinAlgError("x"), ValueError("math domain error"), RuntimeError("x")]
FAILURES += [mujoco.FatalError("x"), SolverError("x")]
MISTAKES = [AttributeError("x"), NameError("x"), TypeError("x"), KeyError("x"), IndexError("x"), AssertionError("x")]
MISTAKES += [ImportError("x"), NotImplementedError("x"), RecursionError("x"), OSError("x"), DeprecationWarning("x")]
MISTAKES += [gymnasium.error.InvalidAction("x")]


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_a_failed_simulation_ends_an_episode(error, faulty):
    faulty.error = error
    env = ENTRY.make()
    env.reset(seed=1)
    seen = [env.step(np.zeros(2)) for _ in range(2)]
    with pytest.warns(RuntimeWarning, match=f"failed in step 3 of an episode \\({type(error).__name__}"):
        last = env.step(np.zeros(2))
    assert last[1:4] == (0.0, True, False) and last[4]["crashed"] and np.array_equal(last[0], seen[-1][0])


@pytest.mark.parametrize("error", MISTAKES, ids=repr)
def test_a_mistake_in_a_program_is_raised_as_it_is(error, faulty):
    faulty.error = error
    with pytest.raises(type(error)) as caught:
        rollout(net(), [ENTRY.make()], [1])
    assert caught.value is error
    with pytest.raises(type(error)):
        play(zeros, ENTRY, [1])


@pytest.mark.filterwarnings("ignore")
def test_an_agent_learns_nothing_from_a_typo(faulty):
    faulty.error, faulty.every = AttributeError("no attribute 'stpes'"), True
    with pytest.raises(AttributeError, match="stpes"):
        PPO("MlpPolicy", environments(ENTRY, 1), n_steps=64, batch_size=64, device="cpu").learn(128)


@pytest.mark.parametrize("name", ["Faulty", "Hopper", "gym:Pendulum-v1"])
@pytest.mark.parametrize(("action", "says"), [("shape", "an action of shape"), (np.nan, "NaN"), (-np.inf, "NaN")])
def test_an_action_of_another_shape_or_nan_is_refused(name, action, says, faulty):
    env = env_entry(name).make()
    env.reset(seed=0)
    shape = env.action_space.shape
    given = np.zeros((1, *shape)) if action == "shape" else np.full(shape, action)
    with pytest.raises(ValueError, match=says) as error:
        env.step(given)
    assert isinstance(error.value, BadAction) and isinstance(error.value, UserError)
    assert not env.step(np.zeros(shape))[2]  # nothing has happened


@pytest.mark.parametrize("name", ["Faulty", "Reacher", pytest.param("dmc/point_mass-easy", marks=SUITE)])
def test_a_step_needs_a_reset(name, faulty):
    env = env_entry(name).make()
    action = np.zeros(env.action_space.shape)
    with pytest.raises(ResetNeeded):
        env.step(action)
    env.reset(seed=0)
    env.step(action)


@pytest.mark.filterwarnings("ignore:Faulty")
def test_a_failed_episode_and_one_of_the_suite_need_a_reset_at_their_end(faulty):
    faulty.error = RuntimeError("x")
    names = ["Faulty", *(["dmc/point_mass-easy"] if importlib.util.find_spec("dm_control") else [])]
    for env in (env_entry(name).make() for name in names):
        env.reset(seed=1)
        while not any(env.step(np.zeros(2))[2:4]):
            pass
        with pytest.raises(ResetNeeded, match="call reset"):
            env.step(np.zeros(2))
        env.reset(seed=0)
        assert not any(env.step(np.zeros(2))[2:4])


def test_a_policy_whose_actions_are_no_numbers_is_one_line(faulty):
    broken = net()
    for parameter in broken.parameters():
        parameter.data.fill_(float("nan"))
    assert "env Faulty: the action in step 1 of an episode holds NaN" in refusal(rollout, broken, [ENTRY.make()], [0])


def test_a_simulator_that_fails_in_reset_is_one_line(faulty, monkeypatch):
    def fails(self, **kwargs):
        raise RuntimeError("no\nlicence")

    monkeypatch.setattr(faulty, "reset", fails)
    assert "env Faulty: the simulation failed in reset (RuntimeError: no licence)" in refusal(ENTRY.make().reset)
    monkeypatch.setattr(faulty, "reset", lambda self, **kwargs: (np.full(5, np.nan), {}))
    assert "the observation of reset holds NaN" in refusal(ENTRY.make().reset)


# --- spaces and rewards


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int32])
def test_actions_that_are_whole_numbers_are_refused_before_anything(dtype, faulty, data, tmp_path):
    faulty.action_space = spaces.Box(0, 3, (2,), dtype)
    assert "its actions are whole numbers" in refusal(ENTRY.make)
    assert "its actions are whole numbers" in refusal(lambda: replace(ENTRY).sizes)  # a copy has no cached sizes
    words = [*WORDS, f"data={data}", f"run_dir={tmp_path / 'run'}"]
    assert "its actions are whole numbers" in refusal(train, compose("train", words))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("reward", [np.ones(1), np.array(1.0), np.ones((1, 1)), np.float32(1), 1, True, np.int8(1)])
def test_a_reward_is_one_number_however_it_is_written(reward, faulty):
    faulty.reward = reward
    assert type(one_number(reward, "x")) is float
    assert rollout(net(), [ENTRY.make()], [0]).tolist() == [STEPS]
    (episode,) = play(zeros, ENTRY, [0])
    assert episode.rewards.tolist() == [1.0] * STEPS
    envs = environments(ENTRY, 2)
    envs.reset()
    assert envs.step(np.zeros((2, 2), np.float32))[1].tolist() == [1, 1]
    ENTRY.check_step()


@pytest.mark.parametrize(("reward", "says"), [(np.ones(3), "of shape (3,)"), (None, "None"), ("1", "'1'")])
def test_another_reward_is_refused_before_anything(reward, says, faulty, data, tmp_path):
    faulty.reward = reward
    assert f"env Faulty: the reward of its step is {says}" in refusal(ENTRY.check_step).replace("an array ", "")
    words = [*WORDS, f"data={data}", f"run_dir={tmp_path / 'run'}"]
    assert "the reward of its step" in refusal(train, compose("train", words)) and not (tmp_path / "run").exists()


def test_a_first_step_that_fails_is_an_error_before_anything(faulty, data, tmp_path):
    faulty.error, faulty.every, faulty.at = RuntimeError("x"), True, 1
    says = "env Faulty: the episode of seed 0 failed in its first step (RuntimeError: x)"
    assert says in refusal(train, compose("train", [*WORDS, f"data={data}", f"run_dir={tmp_path / 'run'}"]))
    assert not (tmp_path / "run").exists()
    assert says in refusal(rollout, net(), [ENTRY.make()], [0]) and says in refusal(play, zeros, ENTRY, [0])


@pytest.mark.skipif(importlib.util.find_spec("pygame") is not None, reason="pygame is installed and draws")
def test_a_film_of_what_mujoco_does_not_simulate_names_what_it_needs():
    says = refusal(choose_renderer, env_entry("gym:Pendulum-v1"))
    assert "pygame is not installed, run `pip install" in says and "MUJOCO_GL" not in says
