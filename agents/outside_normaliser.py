"""Environments that normalise observations, around an actor whose bank or checkpoint does it too."""

from __future__ import annotations

import inspect
import warnings
import weakref
from typing import Any

from gymnasium.wrappers import NormalizeObservation
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize

from weit_rl.common.errors import UserError

_seen: weakref.WeakKeyDictionary[BaseAlgorithm, int] = weakref.WeakKeyDictionary()  # the id of its environment


def outside_normaliser(env: VecEnv) -> str | None:
    """The wrapper that normalises what an environment shows; None where there is none."""
    inner: Any = env
    while isinstance(inner, VecEnvWrapper):
        if isinstance(inner, VecNormalize) and inner.norm_obs:
            return "VecNormalize(norm_obs=True)"
        inner = inner.venv
    return "NormalizeObservation" if any(env.env_is_wrapped(NormalizeObservation)) else None


def check_normalised_once(start: str) -> None:
    """Look whether the algorithm that makes or trains a policy right now has such an environment; once for each.

    Args:
        start: what brings a normaliser of its own, ``bank=...`` or ``checkpoint=...``.

    Raises:
        UserError: if it has. An agent that learned in such an environment gives a warning.
    """
    algorithm = _algorithm()
    if algorithm is None or algorithm.env is None or _seen.get(algorithm) == id(algorithm.env):
        return
    _seen[algorithm] = id(algorithm.env)
    outside = outside_normaliser(algorithm.env)
    if outside is None:
        return
    said = f"{outside}: {start} has a normaliser of its own, so observations are normalised twice"
    if algorithm.num_timesteps:  # a saved one
        warnings.warn(f"{said}; an agent made anew does without", stacklevel=2)
        return
    instead = "VecNormalize(env, norm_obs=False)" if outside.startswith("Vec") else "the environment without it"
    raise UserError(f'{said}; use {instead}, or body="new" with bank=, which learns an embedding of its own')


def _algorithm() -> BaseAlgorithm | None:
    """The algorithm whose method is running: a policy is given spaces only, never the environment."""
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, BaseAlgorithm):
            return owner
        frame = frame.f_back
    return None
