"""The words of a command in Hydra's grammar: flags such as ``-m``, sweeps, ``+experiment=NAME``, plain options.

A plain option is read as without Hydra, and handed on as a quoted value. So a path may hold any character, and a value
of another type is one line. With ``-m`` a value that Hydra reads as a sweep (``1,2``, ``range(3)``) is one.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from weit_rl.common.errors import UserError
from weit_rl.options.option_table import Option

FLAGS = {
    *("-m", "--multirun", "-c", "--cfg", "--resolve", "-p", "--package", "-sc", "--shell-completion"),
    *("-cn", "--config-name", "-cd", "--config-dir", "-i", "--info", "--hydra-help"),
}
NOT_TAKEN = ("config_path", "experimental_rerun", "run")  # the second reads a pickle, which can run any code


def is_for_hydra(words: Sequence[str]) -> bool:
    """Return True if a word is a habit of Hydra's, not an option of ours."""
    return any(word.partition("=")[0] in FLAGS or word.startswith(("+", "~", "hydra.", "hydra/")) for word in words)


def read_flags(words: Sequence[str]) -> argparse.Namespace:
    """Read flags as Hydra does, in any order among the options, which are its ``overrides``.

    Raises:
        UserError: for a flag that Hydra does not know, or that is not taken here.
    """
    from hydra._internal.utils import get_args_parser  # there is no public way to the flags

    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    flags = parser.parse_intermixed_args(list(words))
    for name in NOT_TAKEN:
        if getattr(flags, name):
            raise UserError(f"--{name.replace('_', '-')}: is not taken; --config-dir names a folder of options")
    return flags


def override(word: str, option: Option, sweeps: bool) -> str:
    """Write a plain word, ``key=value``, in Hydra's grammar.

    Args:
        word: of the user.
        option: that its key names.
        sweeps: if several values are a sweep.

    Raises:
        UserError: for a value of another type than the option's, be it one of several.
    """
    text = word.partition("=")[2]
    there = option.kind in ("text", "texts") and os.path.exists(os.path.expanduser(text))  # perhaps with a comma
    values = sweep_values(f"{option.key}={text}") if sweeps and not there else None
    key = f"++{option.key}" if option.kind == "mapping" else option.key  # else Hydra refuses its keys as unknown
    if values is None:
        return f"{key}={literal(option.parse(text))}"
    for value in values:
        option.parse(value)
    return f"{key}={text}"


def sweep_values(word: str) -> list[str] | None:
    """List the values of a sweep, as far as possible; None if the word is no sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(word)
    except HydraException:  # such as a path with brackets
        return None
    if not parsed.is_sweep_override():
        return None
    if not parsed.is_discrete_sweep() or isinstance(parsed.value(), Glob):
        return []
    return [_text(value) for value in parsed.sweep_iterator()]


def experiment(word: str, table: Mapping[str, Option]) -> str:
    """Turn ``+experiment=NAME`` into one whose values are options themselves, ``+seed=1`` into ``seed=1``."""
    key, equals, value = word.partition("=")
    bare = key.lstrip("+")
    if bare.partition(".")[0] in {name.partition(".")[0] for name in table}:
        return f"{bare}{equals}{value}"
    return word if "@" in key or not key.startswith("+") else f"{key}@_global_{equals}{value}"


def literal(value: Any) -> str:
    """Write a value in Hydra's grammar; ``${`` in a text stays as it is."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{','.join(map(literal, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{literal(inner)}' for key, inner in value.items())}}}"
    return QuotedString(re.sub(r"(\\*)\$\{", r"\1\1\\${", value), Quote.single).with_quotes()


def _text(value: Any) -> str:
    """Write one value of a sweep as a user would write it alone."""
    from hydra.core.override_parser.types import Override, QuotedString

    return value.text if isinstance(value, QuotedString) else Override._get_value_element_as_str(value)


def _refuse(message: str) -> NoReturn:
    raise UserError(message)
