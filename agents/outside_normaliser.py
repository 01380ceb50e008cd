"""Checks for environments that normalise observations, while the actor's bank or checkpoint does too."""

from __future__ import annotations

import inspect
import warnings
import weakref
from typing import Any

from gymnasium.wrappers import NormalizeObservation
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize

from weit_rl.common.errors import UserError

_seen: weakref.WeakKeyDictionary[BaseAlgorithm, int] = weakref.WeakKeyDictionary()  # algorithm -> id of its environment


def outside_normaliser(env: VecEnv) -> str | None:
    """Return the name of the wrapper that normalises an environment's observations, or None."""
    inner: Any = env
    while isinstance(inner, VecEnvWrapper):
        if isinstance(inner, VecNormalize) and inner.norm_obs:
            return "VecNormalize(norm_obs=True)"
        inner = inner.venv
    return "NormalizeObservation" if any(env.env_is_wrapped(NormalizeObservation)) else None


def check_normalised_once(start: str) -> None:
    """Check that the environment of the algorithm that is running does not normalise too; once per environment.

    Args:
        start: the option that brings a normaliser, ``bank=...`` or ``checkpoint=...``.

    Raises:
        UserError: if it does. For an agent that was trained in such an environment, this is a warning.
    """
    algorithm = _algorithm()
    if algorithm is None or algorithm.env is None or _seen.get(algorithm) == id(algorithm.env):
        return
    _seen[algorithm] = id(algorithm.env)
    outside = outside_normaliser(algorithm.env)
    if outside is None:
        return
    line = f"{outside}: {start} has a normaliser of its own, so observations are normalised twice"
    if algorithm.num_timesteps:  # a saved agent
        warnings.warn(f"{line}; train a new agent without it", stacklevel=2)
        return
    instead = "VecNormalize(env, norm_obs=False)" if outside.startswith("Vec") else "the environment without it"
    raise UserError(f'{line}; use {instead}, or body="new" with bank=, which learns an embedding of its own')


def _algorithm() -> BaseAlgorithm | None:
    """Find the algorithm whose method is running: a policy gets spaces only, never the environment."""
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, BaseAlgorithm):
            return owner
        frame = frame.f_back
    return None
