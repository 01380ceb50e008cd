"""Any environment that is registered with Gymnasium: ``gym:ID``, or ``gym:MODULE:ID`` to import a module first."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from weit_rl.common.errors import UserError
from weit_rl.envs.mujoco_warnings import watch_mujoco
from weit_rl.envs.registry import ENV_FAMILIES, EnvEntry

if TYPE_CHECKING:
    import gymnasium

PREFIX = "gym"


@functools.cache
def entry_of(name: str) -> EnvEntry:
    """Return the entry of ``gym:ID``.

    Raises:
        UserError: if Gymnasium does not know the id, or its episodes have no maximum length.
    """
    import gymnasium

    module, _, gym_id = name.removeprefix(f"{PREFIX}:").rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(gym_id)
    except Exception as error:  # gymnasium.error.Error, and anything that the module raises
        look = "python -c 'import gymnasium; gymnasium.pprint_registry()' lists the ids"
        raise UserError(f"env {name}: {_line(error)}; {look}") from error
    if spec.max_episode_steps is None:
        raise UserError(
            f"env {name}: it is registered without max_episode_steps, so that an episode might never end; register it "
            "with a number of steps"
        )
    return EnvEntry.of(name, gym_id, f"{__name__}:make", spec.max_episode_steps, module=module)


def make(gym_id: str, **kwargs: Any) -> gymnasium.Env:
    """Make one environment by its Gymnasium id.

    Raises:
        UserError: if it cannot be made, most often because its simulator is missing.
    """
    try:
        import gymnasium

        watch_mujoco()
        return gymnasium.make(gym_id, **kwargs)
    except Exception as error:  # constructors of other projects raise anything
        raise UserError(f"env {PREFIX}:{gym_id}: cannot be made ({_line(error)}); install what it needs") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


ENV_FAMILIES.add(PREFIX, entry_of)
