"""The registry of network families."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from weit_rl.common.registry import Registry
from weit_rl.common.sizes import Size
from weit_rl.core.plan import Plan
from weit_rl.models.memory_check import check_room


@dataclass(frozen=True)
class Model:
    """A family of networks: how one of a size is built, and the plan that covers all of them.

    Attributes:
        build: ``build(size, **options) -> nn.Module`` with torch's current random state.
        plan: ``plan(tile) -> Plan`` for templates of that edge.
        bound: how the names begin of parameters that belong to one body or data set, such as embedding and head.
        carried: likewise, of those that another one begins with all the same, where they fit, such as an embedding of
            patches of pixels.
        sees: ``"states"`` (default), ``"pictures"`` (stacked frames of an environment), ``BOTH`` of these, or
            ``"images"``.
        window: steps of the windows it is trained on; None (default) as many as an option says.
        task: what it is for, ``"control"`` (default), ``"classification"`` or ``"diffusion"``.
        most_lr: the largest learning rate that it bears from scratch, where nobody asks for another one.
        near_lr: the rate of scalers that begin near their best (chosen on the tuning sizes; a larger one
            learns the few images of digits by heart).
    """

    build: Callable[..., nn.Module]
    plan: Callable[[int], Plan]
    bound: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    sees: str = "states"
    window: int | None = None
    task: str = "control"
    most_lr: float = math.inf
    near_lr: float = 3e-3

    def make(self, size: Size, **options: Any) -> nn.Module:
        """Build a network; UserError, before any memory is taken, if this machine has too little."""
        check_room(lambda: self.build(size, **options), f"size={size}")
        return self.build(size, **options)


BOTH = "states and pictures"
MODELS: Registry[Model] = Registry("model", "weit_rl.models", "weit_rl.models")


def models_of(task: str) -> list[str]:
    """The names of the models that are for a task, in the order they were added."""
    return [name for name in MODELS.names() if MODELS.get(name).task == task]
