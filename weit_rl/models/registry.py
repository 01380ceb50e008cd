"""The registry of network families."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry
from weit_rl.common.sizes import Size
from weit_rl.core.plan import Plan
from weit_rl.models.constructor_options import check_option, options_of
from weit_rl.models.memory_check import check_fits_in_memory
from weit_rl.options.choices import check_numbers
from weit_rl.options.model_words import WORDS, check_agreement, given_options
from weit_rl.options.option_fields import Options


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
        without_memory: whether it sees each step by itself (default False). Its batches then have as many steps, drawn
            one by one.
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
    without_memory: bool = False
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


def command_options(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the options of a command's model: words such as ``rtg=none``, and ``model_options={...}``.

    Raises:
        UserError: for a word that the model does not have, or that ``model_options`` contradicts.
    """
    check_agreement(cfg)
    known, more = MODELS.get(cfg["model"]).options(), cfg.get("model_options") or {}
    usual = type(cfg)() if isinstance(cfg, Options) else cfg  # a stored config was checked when its run began
    lacking = [word for word in WORDS if word in cfg and word not in known]
    for word in lacking:
        if cfg[word] != usual[word]:
            raise UserError(f"{word}={cfg[word]}: model={cfg['model']} has no such option; leave {word} out")
    return {name: value for name, value in given_options(cfg).items() if name in more or name not in lacking}


def chosen_options(model: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the options of a model's constructor: those asked for, and the usual words at their defaults.

    Args:
        model: its name.
        asked: options of its constructor.

    Raises:
        UserError: for an option that the model does not have, or a value that it cannot have.
    """
    build = MODELS.get(model).build
    for option, value in asked.items():
        check_option(model, build, option, value)
    check_numbers({option: value for option, value in asked.items() if option in WORDS})
    return {**{option: usual for option, usual in options_of(build).items() if option in WORDS}, **asked}


BOTH = "states and pictures"
MODELS: Registry[Model] = Registry("model", "weit_rl.models", "weit_rl.models")


def models_of(task: str) -> list[str]:
    """List the names of the models for a task."""
    return [name for name in MODELS.names() if MODELS.get(name).task == task]
