"""One row per environment: how to make it and the reference returns its scores are measured against."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import weit_rl.envs
from weit_rl.registry import Registry

if TYPE_CHECKING:
    import gymnasium


@dataclass(frozen=True)
class EnvEntry:
    """An environment: a name for users, how to make it, and its reference returns.

    Attributes:
        name: what users write in ``env=NAME``.
        gym_id: Gymnasium's id, with the version.
        entry_point: ``"module:function"``, called as ``function(gym_id, **kwargs)`` and imported only then.
        random_return: reference return of uniformly random actions (score 0).
        expert_return: reference return of an expert (score 100).
        episode_steps: longest episode, in steps (default 1000).
    """

    name: str
    gym_id: str
    entry_point: str
    random_return: float
    expert_return: float
    episode_steps: int = 1000

    def make(self, **kwargs: Any) -> gymnasium.Env:
        """Make the environment with flat float32 observations; its actions stay as they are.

        Args:
            **kwargs: passed on to Gymnasium, such as ``render_mode="rgb_array"``.

        Raises:
            UserError: if the simulator is not installed.
        """
        return _float32(pkgutil.resolve_name(self.entry_point)(self.gym_id, **kwargs))

    @functools.cached_property
    def sizes(self) -> tuple[int, int]:
        """Numbers in one observation and in one action (makes the environment once)."""
        env = self.make()
        assert env.observation_space.shape and env.action_space.shape, f"{self.gym_id}: spaces must be flat boxes"
        sizes = env.observation_space.shape[0], env.action_space.shape[0]
        env.close()
        return sizes

    def score(self, return_: float) -> float:
        """D4RL-reference-normalised score: 0 for random actions, 100 for the reference expert."""
        return 100 * (return_ - self.random_return) / (self.expert_return - self.random_return)


ENVS: Registry[EnvEntry] = Registry("environment")


def load_families() -> Registry[EnvEntry]:
    """Import every file of this folder, so that each adds its environments; returns the filled registry."""
    for module in pkgutil.iter_modules(weit_rl.envs.__path__):
        importlib.import_module(f"weit_rl.envs.{module.name}")
    return ENVS


def env_entry(name: str) -> EnvEntry:
    """The entry of that name; raises UserError naming the nearest and all possible ones."""
    return load_families().get(name)


def _float32(env: gymnasium.Env) -> gymnasium.Env:
    import numpy as np
    from gymnasium import spaces, wrappers

    box = env.observation_space
    assert isinstance(box, spaces.Box), f"{env}: a family makes environments with flat box observations"
    # Gymnasium's own DtypeObservation warns about the precision of infinite bounds on every environment.
    flat = spaces.Box(box.low.astype(np.float32), box.high.astype(np.float32), dtype=np.float32)
    return wrappers.TransformObservation(env, lambda observation: np.asarray(observation, np.float32), flat)
