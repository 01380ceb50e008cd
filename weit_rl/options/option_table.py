"""Options of a verb: their names, types, defaults and help, read from ``configs/<verb>.yaml``.

A config file has one option a line, ``key: default  # help``. The default's type is the option's type. An option
without a default value (null: may stay empty; ???: must be given) names its type first:
``bank: null  # [text] path of a template bank``. Types: text, integer, number, boolean, list, integers, mapping;
always named: count (an integer or the word auto, for a number that the program can choose), numbers (a list of them),
texts (one or a list of them).
An indented block is a group (``size.width``). The comment lines on top say what the verb does.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from weit_rl.common.errors import UserError
from weit_rl.options.value_kinds import KINDS

if TYPE_CHECKING:
    from omegaconf import DictConfig

REQUIRED = "???"  # as in Hydra


@dataclass(frozen=True)
class Option:
    """One option of a verb.

    Attributes:
        key: its name, dotted inside a group ("size.width").
        default: its value when no word names it; None means "not set", ``???`` "must be given".
        kind: text, texts, integer, integers, count, number, numbers, boolean, list or mapping.
        help: one line for ``--help``.
    """

    key: str
    default: Any
    kind: str
    help: str

    def parse(self, text: str) -> Any:
        """The value a word stands for; UserError if it has another type than the option."""
        if not text:
            raise UserError(f"{self.key}=: is empty; give a value or leave the word out")
        if self.default is None and text == "null":
            return None
        kind, phrase = KINDS[self.kind], KINDS[self.kind].phrase
        try:
            items = kind.read(text)
            if self.kind == "list" and self.default:
                phrase = f"a list such as {self.default}"
                return [KINDS[_kind(self.default[0])].read(item) for item in items]
            return items
        except (ValueError, TypeError, KeyError, yaml.YAMLError) as error:
            raise UserError(f"{self.key}={text}: must be {phrase}") from error

    def accepts(self, value: Any) -> bool:
        """Whether a value, as a config that was written holds it, is of the option's kind."""
        if value is None:
            return self.default is None
        if self.kind == "list" and self.default:
            return isinstance(value, list) and all(KINDS[_kind(self.default[0])].holds(item) for item in value)
        return KINDS[self.kind].holds(value)


def check_values(values: Mapping[str, Any], verb: str, whole: bool = False) -> None:
    """Check a config from a file, nested, against the options of a verb; what is none of them is passed over.

    Args:
        values: of the config.
        verb: names the config file.
        whole: whether every option must be there; else some may be younger than the config (default).

    Raises:
        UserError: for a value of another type than its option's, or an option that is missing.
    """
    for key, option in options(verb).items():
        place: Any = values
        for group in key.split("."):
            if not isinstance(place, Mapping):
                raise UserError(f"{key}: must be in a group of options, not in {str(place)[:60]}")
            if group not in place:
                if whole:
                    raise UserError(f"{key}: is missing")
                break
            place = place[group]
        else:
            if not option.accepts(place):
                raise UserError(f"{key}={str(place)[:60]}: must be {KINDS[option.kind].phrase}")


def config_text(verb: str) -> str:
    """The text of ``configs/<verb>.yaml``."""
    return (resources.files("weit_rl.configs") / f"{verb}.yaml").read_text(encoding="utf-8")


def check_folder() -> None:
    """UserError if the working directory was removed: Hydra, and paths that begin there, need one."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the working directory was removed; change to one that exists (cd)") from error


@functools.cache
def options(verb: str) -> dict[str, Option]:
    """All options of a verb by their key, in the order of its config file."""
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    check_folder()
    with initialize_config_module("weit_rl.configs", version_base=None):
        config = compose(verb)
    text = config_text(verb)
    comments = _comments(yaml.compose(text, yaml.SafeLoader), text.splitlines())
    values = OmegaConf.to_container(config, resolve=True)
    return {".".join(keys): _option(keys, values, comment) for keys, comment in comments}


def as_config(values: dict[str, Any]) -> DictConfig:
    """Nested plain values as a DictConfig that refuses unknown keys and keeps ``${`` in a text as it is."""
    from omegaconf import OmegaConf

    config = OmegaConf.create(_escaped(values))
    OmegaConf.set_struct(config, True)
    return config


def plain_config(config: DictConfig) -> dict[str, Any]:
    """The inverse of :func:`as_config`."""
    from omegaconf import OmegaConf

    plain: Any = OmegaConf.to_container(config, resolve=True)
    return plain


def _comments(node: Any, lines: list[str], group: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every option's keys and the comment behind it (a block is a group, a mapping in braces is a value)."""
    for key, value in node.value:
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _comments(value, lines, (*group, key.value))
        else:
            rest = lines[value.end_mark.line][value.end_mark.column :]
            yield (*group, key.value), rest.strip().removeprefix("#").strip()


def _option(keys: tuple[str, ...], values: Any, comment: str) -> Option:
    for key in keys:
        values = values[key]
    declared = re.match(r"\[(\w+)\] ", comment)
    kind = declared[1] if declared else _kind(values)
    if kind not in KINDS:
        raise ValueError(f"option {'.'.join(keys)}: its comment must start with its type, [{'], ['.join(KINDS)}]")
    return Option(".".join(keys), values, kind, comment)


def _kind(value: Any) -> str:
    if value is None or value == REQUIRED:
        return "undeclared"
    return {bool: "boolean", int: "integer", float: "number", list: "list", dict: "mapping"}.get(type(value), "text")


def _escaped(value: Any) -> Any:
    """OmegaConf reads ``${...}`` as a reference to another option; in a user's path it is just characters."""
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value
