"""Recipes: the options of a published training by one word, ``recipe=imagenet``, before those that a user gives.

A recipe is a YAML file, ``configs/recipe/NAME.yaml`` or one of the user's: a block for every task, with options as in
``weit_rl.vision mode=MODE``, and inside it a block for what a mode has of its own. What a mode does not know of the
other options is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import yaml

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.registry import unknown_name_error
from weit_rl.options.option_table import options

SUFFIX = ".yaml"
TASK = "classification"  # where no word names it


def recipe_words(words: Sequence[str], mode: str, modes: Sequence[str]) -> list[str]:
    """Write the options of the recipe that words name, as words; none if they name none.

    Args:
        words: of the user.
        mode: of the command.
        modes: all there are.

    Raises:
        UserError: if there is no such recipe, it has nothing for the task, or an option that no mode has.
    """
    given = dict(word.split("=", 1) for word in words if "=" in word)
    name, task = given.get("recipe", "null"), given.get("task", TASK)
    if name == "null" or mode not in modes:
        return []
    blocks = dict(_blocks(name, _text(name)))
    if task not in blocks:
        raise UserError(f"recipe={name}: has nothing for task={task} (it has {', '.join(blocks)}); leave it out")
    found = dict(_blocks(name, blocks[task]))
    own = {one: dict(_blocks(name, found.pop(one))) for one in modes if one in found}
    known = {one: {key.partition(".")[0] for key in options(f"vision_{one}")} for one in modes}
    for key in (*found, *(key for block in own.values() for key in block)):
        if all(key not in names for names in known.values()):
            raise unknown_name_error(f"option in recipe={name}:", key, sorted(set().union(*known.values())))
    wanted = found | own.get(mode, {})
    return [f"{key}={text}" for key, text in wanted.items() if key in known[mode]]


def recipes() -> list[str]:
    """List the names of the recipes that ship."""
    return sorted(file.name.removesuffix(SUFFIX) for file in _folder().iterdir() if file.name.endswith(SUFFIX))


def _folder() -> Any:
    return resources.files("weit_rl.configs") / "recipe"


def _blocks(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the keys of a mapping and the texts behind them, as they are written."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"recipe={name}: is no YAML ({' '.join(str(error).split())[:120]})") from error
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"recipe={name}: must be blocks of options by task, as in configs/recipe/imagenet.yaml")
    for key, value in node.value:
        block = isinstance(value, yaml.MappingNode) and not value.flow_style
        # with its first indent, which yaml must see as it sees the others
        start = value.start_mark.index - value.start_mark.column * block
        yield str(key.value), text[start : value.end_mark.index].rstrip()


def _text(name: str) -> str:
    path = expand_home(name) if name.endswith(SUFFIX) else _folder() / f"{name}{SUFFIX}"
    if not path.is_file():
        raise unknown_name_error("recipe", name, [*recipes(), "a file.yaml"])
    return str(path.read_text(encoding="utf-8"))
