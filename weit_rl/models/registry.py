"""The registry of network families."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry, unknown_name_error
from weit_rl.common.sizes import Size
from weit_rl.core.plan import Plan
from weit_rl.models.memory_check import check_fits_in_memory


@dataclass(frozen=True)
class Model:
    """A family of networks: how a network of a size is built, and the plan that covers all sizes.

    Attributes:
        build: ``build(size, **options) -> nn.Module``; it draws from torch's current random state.
        plan: ``plan(tile) -> Plan`` for templates of that edge.
        bound: prefixes of the names of parameters that belong to one body or data set, such as embedding and head.
        transferred: prefixes of those among them that another body or data set starts from if their shapes fit, such
            as an embedding of image patches.
        sees: its observations: ``"states"`` (default), ``"pictures"`` (stacked frames of an environment), ``BOTH`` of
            these, or ``"images"``.
        window: number of steps of its training windows; None (default) for as many as an option asks for.
        task: ``"control"`` (default), ``"classification"`` or ``"diffusion"``.
        max_lr: the largest learning rate from scratch, unless a user asks for another one (default: no limit).
        near_lr: the learning rate of scalers that start near their best values (default 3e-3, chosen on the tuning
            sizes; classifiers have 1e-3, since a larger one overfits the few images of digits).
    """

    build: Callable[..., nn.Module]
    plan: Callable[[int], Plan]
    bound: tuple[str, ...] = ()
    transferred: tuple[str, ...] = ()
    sees: str = "states"
    window: int | None = None
    task: str = "control"
    max_lr: float = math.inf
    near_lr: float = 3e-3

    def make(self, size: Size, **options: Any) -> nn.Module:
        """Build a network; raise UserError before that if this machine has too little memory."""
        check_fits_in_memory(lambda: self.build(size, **options), f"size={size}")
        return self.build(size, **options)

    def options(self) -> dict[str, Any]:
        """List the options that a user may choose, with their defaults (see :func:`options_of`)."""
        return options_of(self.build)


def options_of(build: Callable[..., nn.Module]) -> dict[str, Any]:
    """List the options of a network with their defaults, from the signature of its constructor.

    An option is a parameter with a default that does not follow from the data or the windows (:data:`GIVEN`). A class
    whose constructor takes ``**options`` hands them on to its base class, so it has the options of that class, too.

    Args:
        build: a function, or a class, that makes a network of a size.
    """
    bases = build.__mro__ if isinstance(build, type) else ()
    constructors = [vars(base)["__init__"] for base in bases if "__init__" in vars(base)] or [build]
    options: dict[str, Any] = {}
    for constructor in constructors:
        parameters = inspect.signature(constructor).parameters.values()
        own = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in GIVEN}
        options = {**own, **options}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return options


def chosen_options(name: str, words: Any, offered: Callable[..., nn.Module], more: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the options of a model from the options of a task.

    Args:
        name: of the model.
        words: the task's options as attributes; those of the model have the same names.
        offered: the constructor whose options the task offers for all its models, such as ``Policy``.
        more: further options of this model (``model_options={...}``), which replace those of the task.

    Raises:
        UserError: for an option that this model does not have.
    """
    known = MODELS.get(name).options()
    for option in more:
        if option not in known:
            raise unknown_name_error(f"option of model={name}", option, list(known))
    chosen: dict[str, Any] = {}
    for word, default in options_of(offered).items():
        value = getattr(words, word, default)
        if word in known:
            chosen[word] = value
        elif value != default:
            raise UserError(f"{word}={value}: model={name} has no such option; leave {word} out")
    return {**chosen, **more}


BOTH = "states and pictures"
GIVEN = (
    *("size", "observation_dim", "action_dim", "context", "max_steps", "codes"),
    *("image_size", "channels", "classes"),
)
MODELS: Registry[Model] = Registry("model", "weit_rl.models", "weit_rl.models")


def models_of(task: str) -> list[str]:
    """List the names of the models for a task."""
    return [name for name in MODELS.names() if MODELS.get(name).task == task]
