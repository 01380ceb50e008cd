"""Turn the words of a command into its options and back; write the text of ``--help``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.options.choices import usual_model
from weit_rl.options.image_training_options import PretrainingOptions, TrainingOptions
from weit_rl.options.option_fields import REQUIRED, Options
from weit_rl.options.option_table import Option, about, made, options, plain_config, value_at, written
from weit_rl.options.recipes import recipe_words
from weit_rl.options.train_options import TrainOptions

CONTROL = "control"  # the task of every verb that names no other
VISION = "vision_"  # what the names of options for images begin with
VISION_MODES = ("train", "pretrain", "evaluate", "sample", "export", "describe")


@overload
def compose(verb: Literal["train"], words: Sequence[str] = ()) -> TrainingOptions: ...
@overload
def compose(verb: Literal["pretrain"], words: Sequence[str] = ()) -> PretrainingOptions: ...
@overload
def compose(verb: str, words: Sequence[str] = ()) -> Options: ...
def compose(verb: str, words: Sequence[str] = ()) -> Options:
    """Make the options of a verb, with ``key=value`` words applied.

    Hydra's own grammar for such words stumbles over paths with ``=``, commas, brackets or quotes; here everything
    behind the first ``=`` is the value, and a text is taken as it is. ``size=small`` means ``size.name=small``.

    Args:
        verb: of the command (see :func:`config_name`).
        words: such as ``["size=small", "data=/tmp/a b=c.hdf5"]``.

    Raises:
        UserError: for an unknown option, a value of another type, or a required option that is missing.
    """
    _check_folder()
    name = config_name(verb, words)
    table = options(name)
    if name.startswith(VISION):
        words = [*recipe_words(words, name.removeprefix(VISION), VISION_MODES), *words]
    values = {option.key: option.default for option in table.values()}
    for word in words:
        if word == f"task={CONTROL}" and verb != "vision":
            continue  # what it would be anyway
        key, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"{word}: options are key=value words, such as {next(iter(table))}=...; --help lists them")
        option = find_option(table, key)
        values[option.key] = option.parse(text)
    mode = name.removeprefix(VISION)
    if name.startswith(VISION) and mode in VISION_MODES and values["mode"] != mode:
        given = values["mode"]
        raise UserError(f"mode={given}: weit_rl.{verb} is mode={mode} alone; use python -m weit_rl.vision mode={given}")
    for key, value in values.items():
        if value == REQUIRED:
            raise UserError(f"{key}: must be given, {key}=...  {table[key].help}")
    found = made(name, nested(values))
    fill_model(found)
    return found


def fill_model(found: Options) -> None:
    """Fill in the policy network of a training that names none."""
    if isinstance(found, TrainOptions) and found.model is None:
        found.model = usual_model(found.agent)


def words_of(verb: str, cfg: Options) -> list[str]:
    """Write words that :func:`compose` makes the same config of: all options, since a recipe may differ."""
    plain = plain_config(cfg)
    name = config_name(verb, [f"task={plain['task']}"] if plain.get("task") else [])
    values = {key: value_at(plain, key) for key in options(name)}
    return [f"{key}={written(value)}" for key, value in values.items()]


def read_config(verb: str, plain: Mapping[str, Any], table: Mapping[str, Option]) -> Options:
    """Make options from nested plain values, such as those that Hydra composed, checked as a user's words are.

    Args:
        verb: of the command.
        plain: the values; ``size`` may be a text.
        table: the options that there are.

    Raises:
        UserError: for an unknown option, or a value of another type.
    """
    words = []
    for key, value in plain.items():
        group = isinstance(value, Mapping) and key not in table
        for name, inner in {f"{key}.{part}": value[part] for part in value}.items() if group else [(key, value)]:
            option = find_option(table, name)
            if not (option.key == "task" and inner is None):  # of export: whatever the run was trained for
                words.append(f"{option.key}={written(inner)}")
    return compose(verb, words)


def config_name(verb: str, words: Sequence[str] = ()) -> str:
    """Name a command's options in VERBS: those of ``vision`` go by its mode, those of another task, too."""
    given = dict(word.split("=", 1) for word in words if "=" in word)
    if verb == "vision" and given.get("mode", "train") not in VISION_MODES:
        raise unknown_name_error("mode", given["mode"], list(VISION_MODES))
    if verb == "vision":
        return VISION + given.get("mode", "train")
    task = given.get("task", CONTROL)
    as_file = verb == "export" and task == "classification"  # as policies are; diffusion becomes a pipeline
    of_vision = verb in (*VISION_MODES, "benchmark") and task != CONTROL and not as_file
    return VISION + verb if of_vision else verb


def help_text(verb: str, words: Sequence[str] = ()) -> str:
    """Write what the verb does, and every option with its default and one line of help."""
    _check_folder()
    name = config_name(verb, words)
    rows = [(f"{option.key}={_shown(option.default)}", option.help) for option in options(name).values()]
    width = max(len(left) for left, _ in rows)
    lines = [f"  {left:<{width}}  {help}" for left, help in rows]
    return "\n".join([f"usage: python -m weit_rl.{verb} [option=value ...]", "", about(name), "", *lines])


def find_option(table: Mapping[str, Option], key: str) -> Option:
    """Find an option by its name; ``size`` is short for ``size.name``; UserError for an unknown one."""
    for name in (key, f"{key}.name"):
        if name in table:
            return table[name]
    raise unknown_name_error("option", key, list(table))


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Turn {"size.width": 64} into {"size": {"width": 64}}."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        group, _, last = key.rpartition(".")  # groups are one deep
        (nested.setdefault(group, {}) if group else nested)[last] = value
    return nested


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _check_folder() -> None:
    """Raise UserError if the working directory was removed: paths begin there."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the working directory was removed; change to one that exists (cd)") from error
