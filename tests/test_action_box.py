"""Actions of every environment lie in [-1, 1], and what no policy here can have is refused."""

import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from shared_envs import SUITE, refusal

from weit_rl.common.errors import UserError
from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.registry import EnvEntry, env_entry

SCALED = ["Humanoid", "HumanoidStandup", "Pusher", "InvertedPendulum", "gym:Pendulum-v1"]
SCALED += [pytest.param("dmc/quadruped-walk", marks=SUITE)]


class Told(gymnasium.Env):
    """Remembers the last action; its bounds and observations are the caller's."""

    observation_space = spaces.Box(-1, 1, (2, 3))

    def __init__(self, action_space, observation_space=observation_space):
        self.action_space, self.observation_space = action_space, observation_space

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        self.told = action
        return self.observation_space.sample(), 0.0, False, False, {}


def told(action_space, monkeypatch, **others):
    """Return the entry of an environment with these spaces."""
    monkeypatch.setattr(sys.modules[__name__], "make_told", lambda _: Told(action_space, **others), raising=False)
    return EnvEntry("Told", "Told-v0", f"{__name__}:make_told")


@pytest.mark.parametrize("name", SCALED)
def test_actions_go_into_the_bounds_and_back(name):
    entry = env_entry(name)
    own, box = entry.own_spaces[1], entry.action_box
    one = np.ones(own.shape, np.float32)
    assert np.allclose(box.own(one), own.high, rtol=1e-6) and np.allclose(box.own(-one), own.low, rtol=1e-6)
    actions = np.random.default_rng(0).uniform(-1, 1, (1000, len(one))).astype(np.float32)
    scaled = box.own(np.concatenate([actions, [one], [-one]]))
    assert scaled.dtype == np.float32 and all(own.contains(action) for action in scaled)
    assert np.allclose(box.unit(scaled[:1000]), actions, atol=1e-6)
    assert (abs(box.unit(np.array([own.high * 2]))) > 1).all()


def test_the_environment_gets_actions_in_its_own_units(monkeypatch):
    env = told(spaces.Box(np.float32([-1, 0]), np.float32([1, 4])), monkeypatch).make()
    assert env.action_space == spaces.Box(-1, 1, (2,))
    env.reset()
    for action, expected in (([1, 1], [1, 4]), ([-1, -1], [-1, 0]), ([0.5, 0], [0.5, 2])):
        env.step(np.float32(action))
        assert env.unwrapped.told.tolist() == expected
    assert env.reset()[0].shape == (6,)  # boxes of other shapes are laid flat


def test_actions_stay_unchanged_if_the_bounds_are_one(monkeypatch):
    entry = told(spaces.Box(-1, 1, (2,)), monkeypatch)
    env, action = entry.make(), np.float32([0.1, -0.7])
    env.reset()
    env.step(action)
    assert env.unwrapped.told is action
    assert entry.action_box.own(action) is action and entry.action_box.unit(action) is action


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (spaces.Discrete(3), r"its actions are Discrete\(3\)"),
        (spaces.Box(-1, 1, (2, 2)), "its actions are Box"),
        (spaces.Box(-np.inf, np.inf, (2,)), r"its actions lie in \[-inf, inf\], .* finite bounds"),
        (spaces.Box(np.float32([-1, -1]), np.float32([1, np.inf])), r"its actions lie in \[-1, 1\] and \[-1, inf\]"),
    ],
)
def test_actions_no_policy_here_can_have_are_refused(monkeypatch, space, says):
    entry = told(space, monkeypatch)
    for call in (entry.make, lambda: entry.sizes):
        with pytest.raises(UserError, match=f"env Told: {says}.*use an environment"):
            call()


def test_observations_that_are_no_box_are_refused(monkeypatch):
    seen = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)})
    entry = told(spaces.Box(-1, 1, (2,)), monkeypatch, observation_space=seen)
    assert "env Told: its observations are Dict" in refusal(entry.make)


def test_a_dict_of_boxes_is_laid_flat_as_gymnasium_does(monkeypatch):
    parts = {
        "goal": spaces.Box(-2, 2, (2,)),
        "body": spaces.Dict({"z": spaces.Box(0, 1, (2, 2)), "a": spaces.Box(0, 9)}),
    }
    entry = told(spaces.Box(-1, 1, (2,)), monkeypatch, observation_space=spaces.Dict(parts))
    env = entry.make()
    assert env.observation_space == entry.own_spaces[0] == spaces.flatten_space(spaces.Dict(parts))
    seen = env.unwrapped.observation_space.sample()
    monkeypatch.setattr(env.unwrapped, "reset", lambda **_: (seen, {}))
    assert np.array_equal(env.reset()[0], spaces.flatten(spaces.Dict(parts), seen))


def test_bounds_are_shown_once_each():
    assert str(ActionBox(np.float32([-1, -2, -1]), np.float32([1, 2, 1]))) == "[-1, 1] and [-2, 2]"
