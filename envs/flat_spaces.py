"""Checks and flattening of spaces: flat float32 observations, and one bounded vector of numbers as the action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.envs.action_box import ActionBox

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.spaces import Box, Space


def parts(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Walk an observation, or its space, in the order in which it is flattened.

    A Dict is walked by its sorted keys, as Gymnasium flattens it; a Tuple in its order.

    Args:
        node: a box or an array; or a mapping or tuple of them, nested to any depth.
        name: of the node itself (default: none).

    Yields:
        The name of each part, ``"goal/position"`` for nested ones, and its box or array.
    """
    if isinstance(node, Mapping):
        inner = [(str(key), node[key]) for key in sorted(node, key=str)]
    elif isinstance(node, tuple) or hasattr(node, "spaces"):
        inner = [(str(index), one) for index, one in enumerate(node)]
    else:
        yield name, node
        return
    for key, one in inner:
        yield from parts(one, f"{name}/{key}" if name else key)


def check_spaces(env: gymnasium.Env, name: str) -> ActionBox:
    """Check the spaces of an environment, and return the bounds of its actions.

    Raises:
        UserError: if observations are no Box of numbers nor a Dict of them, or actions no flat, bounded Box of real
            numbers.
    """
    for kind, space in {"observations": env.observation_space, "actions": env.action_space}.items():
        fits = _is_flat(space) if kind == "actions" else all(_is_numbers(part) for _, part in parts(space))
        if not fits:
            shown = " ".join(str(space).split())[:100]
            raise UserError(f"env {name}: its {kind} are {shown}; use an environment whose {kind} are a flat Box")
    if not np.issubdtype(env.action_space.dtype, np.floating):
        raise UserError(
            f"env {name}: its actions are whole numbers ({env.action_space.dtype}), and a policy here acts in real "
            "ones; use an environment whose actions are a float32 Box, such as a wrapper that rounds them"
        )
    box = ActionBox.of(env.action_space)  # type: ignore[arg-type]
    if not box.is_bounded:
        raise UserError(
            f"env {name}: its actions lie in {box}, and a policy that acts in [-1, 1] needs finite bounds to be scaled "
            "to; use an environment with bounded actions"
        )
    return box


def flat_box(space: Space) -> Box:
    """Return the space of flattened float32 observations, for a Box of any shape or a Dict of them."""
    from gymnasium import spaces

    boxes: list[Any] = [box for _, box in parts(space)]
    # Not Gymnasium's DtypeObservation: it warns about the precision of infinite bounds for every environment.
    low, high = (np.concatenate([getattr(b, end).astype(np.float32).ravel() for b in boxes]) for end in ("low", "high"))
    return spaces.Box(low, high, dtype=np.float32)


def flattened(observation: Any) -> np.ndarray:
    """Copy one observation to a float32 vector, since an environment may overwrite the array that it returned."""
    if isinstance(observation, Mapping | tuple):
        return np.concatenate([np.asarray(part, np.float32).ravel() for _, part in parts(observation)])
    return np.array(observation, np.float32).ravel()


def _is_flat(space: Any) -> bool:
    return _is_numbers(space) and len(space.shape) == 1


def _is_numbers(space: Any) -> bool:
    from gymnasium import spaces

    return isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.number)
