"""Make options from values by name, instead of from the words of a command."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, overload

from weit_rl.options.image_training_options import LearningOptions, PretrainingOptions, TrainingOptions
from weit_rl.options.option_fields import Options
from weit_rl.options.option_table import VERBS, options, value_at
from weit_rl.options.words import CONTROL, compose, config_name, fill_model, find_option, read_config

AnyOptions = TypeVar("AnyOptions", bound=Options)


@overload
def usual_options(verb: Literal["train"], task: str | None = None) -> TrainingOptions: ...
@overload
def usual_options(verb: Literal["pretrain"], task: str | None = None) -> PretrainingOptions: ...
@overload
def usual_options(verb: Literal["train", "pretrain"], task: str | None = None) -> LearningOptions: ...
@overload
def usual_options(verb: str, task: str | None = None) -> Options: ...
def usual_options(verb: str, task: str | None = None) -> Options:
    """Give the options of a command of which no value is given.

    Args:
        verb: name of the command, such as "train".
        task: what a network is trained for (default None: control).
    """
    return compose(verb, _task_words(task))


@overload
def read_options(verb: Literal["train"], values: Mapping[str, Any]) -> TrainingOptions: ...
@overload
def read_options(verb: Literal["pretrain"], values: Mapping[str, Any]) -> PretrainingOptions: ...
@overload
def read_options(verb: str, values: Mapping[str, Any]) -> Options: ...
def read_options(verb: str, values: Mapping[str, Any]) -> Options:
    """Make the options of a command from values that a user gives by name, checked as words are.

    Args:
        verb: name of the command, such as "train".
        values: values by the names of options; ``task`` decides which options there are, ``recipe`` gives defaults.

    Raises:
        UserError: for an unknown option, or a value of another type.
    """
    task = values.get("task")
    given = {name: value for name, value in values.items() if (name, value) != ("task", CONTROL)}
    return read_config(verb, given, options(config_name(verb, _task_words(task))))


def options_with(given: AnyOptions, values: Mapping[str, Any]) -> AnyOptions:
    """Copy options, with values in it that a user gives by name, checked as words are.

    Args:
        given: options of a command; neither they nor their parts are shared with the copy.
        values: values by the names of options; ``size`` is short for ``size.name``.

    Raises:
        UserError: for an unknown option, or a value of another type.
    """
    name = next(name for name, made in VERBS.items() if made is type(given))
    found, table = copy.deepcopy(given), options(name)
    for key, value in values.items():
        if (key, value) == ("task", CONTROL) and key not in table:
            continue  # what it is anyway
        option = find_option(table, key)
        group, _, last = option.key.rpartition(".")
        (value_at(found, group) if group else found)[last] = option.read(value)
    fill_model(found)
    return found


def _task_words(task: Any) -> list[str]:
    return [] if task in (None, CONTROL) else [f"task={task}"]
