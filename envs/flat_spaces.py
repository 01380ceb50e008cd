"""The spaces a policy here can have: flat float32 observations, and one bounded vector of numbers as the action."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from weit_rl.envs.action_box import ActionBox
from weit_rl.errors import UserError

if TYPE_CHECKING:
    import gymnasium


def check_spaces(env: gymnasium.Env, name: str) -> ActionBox:
    """The bounds of the environment's actions.

    Raises:
        UserError: if observations are no box of numbers, or actions no flat, bounded one.
    """
    from gymnasium import spaces

    for kind, space in {"observations": env.observation_space, "actions": env.action_space}.items():
        flat = isinstance(space, spaces.Box) and (kind == "observations" or len(space.shape) == 1)
        if not flat or not np.issubdtype(space.dtype, np.number):
            shown = " ".join(str(space).split())[:100]
            raise UserError(f"env {name}: its {kind} are {shown}; use an environment whose {kind} are a flat Box")
    box = ActionBox.of(env.action_space)  # type: ignore[arg-type]
    if not box.is_bounded:
        raise UserError(
            f"env {name}: its actions lie in {box}, and a policy that acts in [-1, 1] needs finite bounds to be scaled "
            "to; use an environment with bounded actions"
        )
    return box


def flat_float32(env: gymnasium.Env) -> gymnasium.Env:
    """The environment with its observations, a box of any shape, as float32 vectors."""
    from gymnasium import spaces, wrappers

    box: Any = env.observation_space
    # Gymnasium's own DtypeObservation warns about the precision of infinite bounds on every environment.
    low, high = (bound.astype(np.float32).ravel() for bound in (box.low, box.high))
    flat = spaces.Box(low, high, dtype=np.float32)
    return wrappers.TransformObservation(env, lambda observation: np.asarray(observation, np.float32).ravel(), flat)
