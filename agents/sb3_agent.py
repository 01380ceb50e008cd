"""Loading of agents that Stable-Baselines3 saved, and their actions in an environment."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.agents.recording import Act, AgentActor
from weit_rl.agents.sb3_zip import ALGORITHMS, SPACES, check_sizes, read_settings
from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.registry import EnvEntry

# Not needed for acting, so not unpickled: functions of an older Python fail, and a replay buffer takes memory.
LEFT_OUT: dict[str, Any] = {
    **dict.fromkeys(("action_noise", "ep_info_buffer", "ep_success_buffer", "clip_range_vf", "lr_schedule")),
    **dict.fromkeys(("_last_obs", "_last_original_obs", "_last_episode_starts")),
    **dict.fromkeys(("replay_buffer_class", "rollout_buffer_class")),
    **dict.fromkeys(("learning_rate", "clip_range"), 0.0),
    **dict.fromkeys(("buffer_size", "train_freq"), 1),
    "replay_buffer_kwargs": {},
    "rollout_buffer_kwargs": {},
    "optimize_memory_usage": False,
}


def load_agent(path: Path, algorithm: str, entry: EnvEntry) -> Any:
    """Load an agent, which unpickles parts of it; the caller must trust the file.

    Raises:
        UserError: if it cannot be loaded, does not fit the environment, or acts in other bounds.
    """
    settings = read_settings(path)
    check_sizes(settings, path, entry)
    # Spaces of the older gym can only be unpickled if gym is installed.
    older = {name: space for name, space in zip(SPACES, entry.own_spaces, strict=True) if _is_older(settings[name])}
    kind = getattr(importlib.import_module(ALGORITHMS[algorithm].package), algorithm)
    left_out = {key: value for key, value in LEFT_OUT.items() if key in settings}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            agent = kind.load(path, device="cpu", custom_objects=left_out | older)
    except Exception as error:  # unpickling and torch raise many kinds
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(
            f"agent={path}: {algorithm} cannot load it ({reason}); save it again with the version installed here"
        ) from error
    _check_bounds(ActionBox.of(agent.action_space), path, entry)
    return agent


def actor(agent: Any, deterministic: bool, normalise: Callable[[np.ndarray], np.ndarray]) -> Act:
    """Return a policy with the agent's actions in [-1, 1], from the environment's observations."""
    return AgentActor(agent, deterministic, normalise, ActionBox.of(agent.action_space).unit)


def normaliser(path: str | None, entry: EnvEntry) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function by which a pickled VecNormalize changes observations; without one it changes nothing.

    Raises:
        UserError: if it cannot be loaded, is something else, or is of another size.
    """
    if path is None:
        return lambda observations: observations
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    try:
        loaded = VecNormalize.load(str(expand_home(path)), DummyVecEnv([entry.make]))
        loaded.normalize_obs(np.zeros((1, entry.sizes[0]), np.float32))
        return loaded.normalize_obs  # type: ignore[return-value]
    except Exception as error:  # unpickling raises many kinds, and the object may be no VecNormalize
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"vec_normalize={path}: no VecNormalize of {entry.name} ({reason}); give its file") from error


def _is_older(space: Mapping[str, Any]) -> bool:
    return str(space.get(":type:")).startswith("<class 'gym.")


def _check_bounds(box: ActionBox, path: Path, entry: EnvEntry) -> None:
    own = entry.action_box
    same = np.array_equal(box.low, own.low) and np.array_equal(box.high, own.high)
    if not (same or box.is_unit):
        raise UserError(f"agent={path}: acts in {box}, but {entry.name} in {own}; use an agent trained for it")
