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
from weit_rl.options.choices import check_numbers
from weit_rl.options.model_words import WORDS, check_agreement, given_options
from weit_rl.options.option_fields import Options
from weit_rl.options.value_kinds import TYPES, ValueKind


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
        free_options: names of its own options in which a network may differ from the bank or the source that it starts
            from, since they are for training alone, such as a noise (default: none).
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
    free_options: tuple[str, ...] = ()

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
    return {name: parameter.default for name, parameter in _parameters(build).items()}


def command_options(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the options of a command's model: words such as ``rtg=none``, and ``model_options={...}``.

    Raises:
        UserError: for a word that the model does not have, or that ``model_options`` contradicts.
    """
    check_agreement(cfg)
    known, usual = MODELS.get(cfg["model"]).options(), type(cfg)() if isinstance(cfg, Options) else cfg
    given = given_options(cfg)
    for word in [word for word in given if word in WORDS and word not in known and word in cfg]:
        if cfg[word] != usual[word]:
            raise UserError(f"{word}={cfg[word]}: model={cfg['model']} has no such option; leave {word} out")
        if word not in cfg.get("model_options", {}):
            del given[word]
    return given


def chosen_options(model: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the options of a model's constructor: those asked for, and the usual words at their defaults.

    Args:
        model: its name.
        asked: options of its constructor.

    Raises:
        UserError: for an option that the model does not have, or a value that it cannot have.
    """
    build = MODELS.get(model).build
    known = _parameters(build)
    for option, value in asked.items():
        if option not in known:
            raise _unknown_option(model, option, value, list(known))
        _check_kind(known[option], value)
    check_numbers({option: value for option, value in asked.items() if option in WORDS})
    return {**{option: known[option].default for option in known if option in WORDS}, **asked}


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


def _unknown_option(model: str, option: str, value: Any, known: list[str]) -> UserError:
    if not known:
        return UserError(f"model_options={{{option}: {value}}}: model={model} has none")
    return unknown_name_error(f"option of model={model}", option, known)


def _check_kind(option: inspect.Parameter, value: Any) -> None:
    """Raise UserError for a value that is not of the type that the signature gives, by annotation or by default."""
    kind = _kind(option)
    if kind is not None and not kind.holds(value) and not (value is None and option.default is None):
        raise UserError(f"{option.name}={str(value)[:60]}: must be {kind.phrase}")


def _kind(option: inspect.Parameter) -> ValueKind | None:
    """Return the kind of a constructor's option; None if neither annotation nor default shows it."""
    annotation = option.annotation
    if annotation is option.empty:
        annotation = type(option.default)
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return TYPES.get(text.removesuffix(" | None"))


BOTH = "states and pictures"
GIVEN = ("size", "observation_dim", "action_dim", "context", "max_steps", "image_size", "channels", "classes")
MODELS: Registry[Model] = Registry("model", "weit_rl.models", "weit_rl.models")


def models_of(task: str) -> list[str]:
    """List the names of the models for a task."""
    return [name for name in MODELS.names() if MODELS.get(name).task == task]
