"""The options of a model, read off the signature of its constructor."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.options.value_kinds import TYPES

GIVEN = (
    *("size", "observation_dim", "action_dim", "context", "max_steps", "codes"),
    *("image_size", "channels", "classes"),
)


def options_of(build: Callable[..., nn.Module]) -> dict[str, Any]:
    """List the options of a network with their defaults, from the signature of its constructor.

    An option is a parameter with a default that does not follow from the data or the windows (:data:`GIVEN`). A class
    whose constructor takes ``**options`` hands them on to its base class, so it has the options of that class, too.

    Args:
        build: a function, or a class, that makes a network of a size.
    """
    return {name: parameter.default for name, parameter in _parameters(build).items()}


def check_option(model: str, build: Callable[..., nn.Module], option: str, value: Any) -> None:
    """Check an option by the signature of a model's constructor: its name, and its type by annotation or default.

    Raises:
        UserError: for an option that the model does not have, or a value of another type.
    """
    known = _parameters(build)
    if not known:
        raise UserError(f"model_options={{{option}: {value}}}: model={model} has none")
    if option not in known:
        raise unknown_name_error(f"option of model={model}", option, list(known))
    kind, may_be_none = _type_of(known[option])
    if kind in TYPES and not TYPES[kind].holds(value) and not (value is None and may_be_none):
        raise UserError(f"{option}={str(value)[:60]}: must be {TYPES[kind].phrase}")


def _parameters(build: Callable[..., nn.Module]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a constructor that are options, see :func:`options_of`."""
    bases = build.__mro__ if isinstance(build, type) else ()
    constructors = [vars(base)["__init__"] for base in bases if "__init__" in vars(base)] or [build]
    options: dict[str, inspect.Parameter] = {}
    for constructor in constructors:
        parameters = inspect.signature(constructor).parameters.values()
        own = {p.name: p for p in parameters if p.default is not p.empty and p.name not in GIVEN}
        options = {**own, **options}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return options


def _type_of(option: inspect.Parameter) -> tuple[str, bool]:
    """Return the name of an option's type, by its annotation, else by its default; and whether it may be None."""
    annotation = type(option.default) if option.annotation is option.empty else option.annotation
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text.removesuffix(" | None"), text.endswith(" | None") or option.default is None
