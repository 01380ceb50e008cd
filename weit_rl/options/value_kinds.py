"""The kinds that an option's value may have: how a word is read as one, and which values of a config are one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class ValueKind:
    """One kind.

    Attributes:
        phrase: what a value must be, for a message.
        read: the value that a word stands for; ValueError, TypeError, KeyError or YAMLError if it is none.
        holds: returns True if a value, as a config that was written holds it, is one.
    """

    phrase: str
    read: Callable[[str], Any]
    holds: Callable[[Any], bool]


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _edge(text: str) -> bool | int:
    return {"true": True, "false": False}[text] if text in ("true", "false") else int(text)


def _list(text: str) -> list[Any]:
    items = yaml.load(text, yaml.BaseLoader)  # the items stay texts, to be read each as the default's kind
    if not isinstance(items, list):
        raise ValueError(text)
    return items


def _texts(text: str) -> str | list[str]:
    """Read a text or a list: a text in brackets with a comma is a list; a path like that needs a ./ before it."""
    if not (text.startswith("[") and text.endswith("]") and "," in text):
        return text
    items = _list(text)
    if not all(isinstance(item, str) and item for item in items):
        raise ValueError(text)
    return items


def _mapping(text: str) -> Any:
    from omegaconf import OmegaConf

    if not text.startswith("{"):
        raise ValueError(text)
    return OmegaConf.to_container(OmegaConf.create(text))  # its reader knows 3e-4 as a number, yaml's does not


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (_is_integer(value) or isinstance(value, float)) and math.isfinite(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value))


def _all(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


KINDS: dict[str, ValueKind] = {
    "text": ValueKind("a text", str, _is_text),
    "texts": ValueKind(
        "a text, or a list such as [a, b]", _texts, lambda value: _is_text(value) or _all(_is_text)(value)
    ),
    "integer": ValueKind("an integer", int, _is_integer),
    "count": ValueKind(
        "an integer or auto",
        lambda text: text if text == "auto" else int(text),
        lambda value: _is_integer(value) or value == "auto",
    ),
    "number": ValueKind("a number", _number, _is_number),
    "boolean": ValueKind(
        "true or false",
        lambda text: {"true": True, "false": False}[text.lower()],
        lambda value: isinstance(value, bool),
    ),
    "edge": ValueKind(
        "true, false or a number of pixels such as 84",
        lambda text: _edge(text.lower()),
        lambda value: isinstance(value, int),
    ),
    "list": ValueKind("a list such as [a, b]", _list, _is_list),
    "integers": ValueKind(
        "a list of integers such as [1, 2]", lambda text: [int(item) for item in _list(text)], _all(_is_integer)
    ),
    "numbers": ValueKind(
        "a list of numbers such as [0.7, 0.3]", lambda text: [_number(item) for item in _list(text)], _all(_is_number)
    ),
    "mapping": ValueKind("a mapping such as {name: 1}", _mapping, _is_mapping),
}

ANNOTATIONS = {
    "str": "text",
    "Texts": "texts",
    "int": "integer",
    "int | str": "count",
    "float": "number",
    "bool": "boolean",
    "bool | int": "edge",
    "list[Any]": "list",
    "list[str]": "list",
    "list[int]": "integers",
    "list[float]": "numbers",
    "dict[str, Any]": "mapping",
}

TYPES = {name: KINDS[ANNOTATIONS[name]] for name in ("str", "int", "float", "bool", "list[int]", "list[float]")}


def kind_of_annotation(annotation: str) -> str:
    """Name the kind of an option by the annotation of its field, as it is written."""
    return ANNOTATIONS[annotation.removesuffix(" | None")]
