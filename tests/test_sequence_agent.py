"""A policy network as an agent of Stable-Baselines3: acts in its environments as it does in our evaluation."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import small_net
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from weit_rl.agents.evaluation import rollout
from weit_rl.agents.sequence_agent import SequenceAgent
from weit_rl.common.errors import UserError
from weit_rl.envs.action_box import ActionBox
from weit_rl.models import BOTH, MODELS, models_of

MODELS_AND_OPTIONS = [*((name, {}) for name in models_of("control")), ("dt", {"rtg": "every", "past_actions": True})]
BANDED = {"attention": "band", "band": 2, "positions": "none"}
MODELS_AND_OPTIONS += [("dt", BANDED), ("dt", {**BANDED, "rtg": "every", "past_actions": True, "positions": "episode"})]


class Watch(gym.ObservationWrapper):
    """Sees the state as grey pictures."""

    observation_space = spaces.Box(0, 255, (9, 16, 16), np.uint8)

    def observation(self, state):
        rows = np.resize(np.tanh(state), (9, 16, 1)) * np.ones((1, 1, 16))
        return (127.5 * (1 + rows)).astype(np.uint8)


class WatchAndFeel(gym.ObservationWrapper):
    """Sees the state and behind it the pictures, flat."""

    observation_space = spaces.Box(-np.inf, np.inf, (5 + 9 * 16 * 16,), np.float32)

    def observation(self, state):
        return np.concatenate([state, Watch.observation(self, state).reshape(-1)], dtype=np.float32)


class Walk(gym.Env):
    """The reward depends on the action, and the episode's length on the seed."""

    observation_space = spaces.Box(-np.inf, np.inf, (5,), np.float32)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.last = 0, int(self.np_random.integers(6, 12))
        self.state = self.np_random.normal(size=5).astype(np.float32)
        return self.state, {}

    def step(self, action):
        self.t += 1
        self.state = 0.9 * self.state + np.float32(0.3) * np.resize(action, 5).astype(np.float32)
        return self.state, 100 * float(action[0]), self.t == self.last, False, {}


def policy(model, options):
    net = small_net(model, **options).eval()
    net.target_return.fill_(500.0)
    for parameter in net.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return net


@pytest.mark.parametrize(("model", "options"), MODELS_AND_OPTIONS)
def test_its_return_equals_that_of_evaluate(model, options):
    wrap = {"states": lambda env: env, "pictures": Watch, BOTH: WatchAndFeel}[MODELS.get(model).sees]
    net, make = policy(model, options), lambda: wrap(Walk())
    wanted = rollout(net, [make() for _ in range(4)], list(range(7, 11)))
    agent, env = SequenceAgent(net), DummyVecEnv([make] * 4)
    env.seed(7)
    env = agent.watch(env)
    earned, _ = evaluate_policy(agent, env, n_eval_episodes=4, return_episode_rewards=True, warn=False)
    assert sorted(earned) == pytest.approx(sorted(wanted), rel=1e-4)
    assert np.std(wanted) > 1


def test_without_rewards_the_return_is_earned_in_equal_parts():
    net = policy("dt", {})
    agent, state = SequenceAgent(net), None
    for step in range(3):
        _, state = agent.predict(np.ones((2, 5)), state)
        assert state.returns_to_go[:, step] == pytest.approx(500 - step * 500 / net.max_steps)


def test_rewards_are_those_of_the_environments_it_acted_in_last():
    agent, env = SequenceAgent(policy("dt", {})), DummyVecEnv([Walk] * 2)
    env = agent.watch(env)
    _, state = agent.predict(env.reset())
    env.step(np.ones((2, 2)))
    _, state = agent.predict(np.ones((2, 5)), state)
    assert state.returns_to_go[:, 1] == pytest.approx(500 - 100)
    env.step(np.ones((2, 2)))
    _, state = agent.predict(np.ones((3, 5)))  # others, which are not watched
    _, state = agent.predict(np.ones((3, 5)), state)
    assert state.returns_to_go[:, 1] == pytest.approx(500 - 500 / agent.net.max_steps)


def test_it_acts_in_the_environments_own_units():
    box = ActionBox(np.array([-3, 0], np.float32), np.array([3, 1], np.float32))
    net, seen = policy("dt", {}), np.ones((2, 5))
    unit, memory = SequenceAgent(net).predict(seen)
    own, other = SequenceAgent(net, box).predict(seen)
    assert own == pytest.approx(np.stack([3 * unit[:, 0], (1 + unit[:, 1]) / 2], 1), abs=1e-6)
    assert np.array_equal(memory.actions, other.actions)
    watched = SequenceAgent(net)
    watched.watch(DummyVecEnv([lambda: gym.wrappers.RescaleAction(Walk(), box.low, box.high)]))
    assert np.array_equal(watched.predict(seen)[0], own)


def test_a_single_observation_gives_a_single_action():
    agent = SequenceAgent(policy("dt", {}))
    actions, state = agent.predict(np.ones(5), deterministic=True)
    together, _ = agent.predict(np.ones((1, 5)))
    assert actions.shape == (2,) and np.array_equal(actions, together[0]) and state.time.tolist() == [0]


def test_a_run_is_loaded_by_its_folder(tiny_run):
    agent = SequenceAgent.load(tiny_run)
    assert agent.predict(np.zeros((3, 17)))[0].shape == (3, 6)
    with pytest.raises(UserError, match="nothing"):
        SequenceAgent.load("runs/nothing")


@pytest.mark.parametrize("model", ["dt", "mlp"])
def test_another_bodys_observations_are_refused(model):
    agent = SequenceAgent(small_net(model))
    for seen in (np.zeros((2, 7)), np.zeros(7)):
        with pytest.raises(UserError, match="has 7 numbers, the policy sees 5; use its environment"):
            agent.predict(seen)


# --- what does not go together


def told(agent, **given):
    """Return the line with which a second call is refused."""
    seen = np.ones((4, 5), np.float32)
    _, state = agent.predict(seen)
    with pytest.raises(UserError) as error:
        agent.predict(**{"observation": seen, "state": state, **given})
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("options", [{}, {"rtg": "every", "past_actions": True}, BANDED], ids=str)
def test_a_memory_of_other_environments_is_refused(options):
    agent = SequenceAgent(policy("dt", options))
    for rows in (1, 3, 5):
        assert f"need ({rows}, 4, 5); pass on what the last predict" in told(agent, observation=np.ones((rows, 5)))
    _, short = SequenceAgent(policy("dt", {**options, "context": 7})).predict(np.ones((4, 5)))
    assert "state: its observations are of shape (4, 7, 5)" in told(agent, state=short)
    for other in (short[:2], np.ones(4), "a"):
        assert "state: not a memory" in told(agent, state=other)


def test_wrong_observations_are_refused():
    agent, wrong = SequenceAgent(policy("dt", {})), np.ones((4, 5))
    wrong[2, 1] = np.nan
    assert "nan at (2, 1) is not finite; mend the environment" in told(agent, observation=wrong)
    assert "has 6 numbers, the policy sees 5" in told(agent, observation=np.ones((4, 6)))
    assert "not an array of numbers" in told(agent, observation=[["a"] * 5] * 4)
    for shape in ((2, 4, 5), (0, 5), ()):
        assert f"of shape {shape}, not one observation nor rows" in told(agent, observation=np.ones(shape))


def test_pictures_of_other_channels_are_refused():
    with pytest.raises(UserError, match="has 8 channels, the policy sees 9"):
        SequenceAgent(policy("conv", {})).predict(np.ones((2, 8, 16, 16)))
    with pytest.raises(UserError, match=r"has 5 numbers, the policy sees 2309"):
        SequenceAgent(policy("multimodal", {})).predict(np.ones((2, 5)))


def test_rewards_and_starts_are_one_for_each_environment():
    agent = SequenceAgent(policy("dt", {}))
    for shape in ((3,), (1,), (4, 2), ()):
        assert f"episode_start: of shape {shape}, there are 4" in told(agent, episode_start=np.ones(shape))
    seen, acted = np.ones((4, 5)), []
    for rewards in (np.arange(4.0), np.arange(4.0)[:, None]):
        _, state = agent.predict(seen)
        agent.rewards = rewards
        acted.append(agent.predict(seen, state, np.zeros((4, 1)))[1].returns_to_go[:, 1])
    assert acted[0].tolist() == acted[1].tolist() == [500, 499, 498, 497]
    for rewards, line in ((np.ones(1), "rewards: of shape"), (np.full(4, np.nan), "rewards: nan at")):
        _, state = agent.predict(seen)
        agent.rewards = rewards
        with pytest.raises(UserError, match=line):
            agent.predict(seen, state)
