"""An environment whose simulation fails on request, and fixtures around it, for the tests of failed simulations."""

import gymnasium
import numpy as np
import pytest
from conftest import small_net, write_hdf5
from gymnasium import spaces

from weit_rl.envs.registry import ENVS, EnvEntry

STEPS = 6


class Faulty(gymnasium.Env):
    """Gives ``reward`` in every step; raises ``error`` in step ``at`` of episodes whose seed is odd, or of all."""

    observation_space = spaces.Box(-np.inf, np.inf, (5,), np.float32)
    action_space = spaces.Box(-2, 2, (2,), np.float32)
    error, at, every, reward = None, 3, False, 1.0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.fails, self.steps = self.every or bool((seed or 0) % 2), 0
        return np.zeros(5, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.error and self.fails and self.steps == self.at:
            raise self.error
        return np.full(5, self.steps, np.float32), self.reward, False, self.steps == STEPS, {}


def make_faulty(gym_id, **kwargs):
    return Faulty()


ENTRY = EnvEntry("Faulty", "Faulty-v0", f"{__name__}:make_faulty", episode_steps=STEPS)


@pytest.fixture
def faulty(monkeypatch):
    """Add the environment to the registry, and yield its class, whose attributes are put back after the test."""
    for name in ("error", "at", "every", "reward", "action_space"):
        monkeypatch.setattr(Faulty, name, getattr(Faulty, name))
    with ENVS.temporarily({"Faulty": ENTRY}):
        yield Faulty


def zeros(seen):
    return np.zeros((len(seen), 2), np.float32)


def net():
    return small_net("mlp", max_steps=STEPS).eval()


WORDS = ["env=Faulty", "init=scratch", "model=mlp", "size=32x1", "train_steps=4", "evaluate_every=2", "batch_size=4"]
WORDS += ["threads=1", "device=cpu", "episodes=4", "validation_episodes=2", "context=4"]


@pytest.fixture
def data(tmp_path):
    """Write four episodes of constants in D4RL's layout."""
    rows, path = 4 * STEPS, tmp_path / "data.hdf5"
    arrays = {"observations": np.random.default_rng(0).normal(size=(rows, 5)), "actions": np.zeros((rows, 2))}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    ends = np.arange(rows) % STEPS == STEPS - 1
    write_hdf5(path, arrays | {"rewards": np.ones(rows, np.float32), "terminals": ends & False, "timeouts": ends})
    return path
