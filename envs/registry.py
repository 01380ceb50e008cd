"""The registry of environments, and the look-up of an environment by its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry, unknown_name_error
from weit_rl.envs.environment_entry import EnvEntry, in_pictures
from weit_rl.envs.pixels import BESIDE, split_pixels

__all__ = ["ENVS", "ENV_FAMILIES", "ENV_GROUPS", "EnvEntry", "entry_of_file", "env_entry", "imports_module"]

ENVS: Registry[EnvEntry] = Registry("environment", "weit_rl.envs", "weit_rl.environments")
# Environments that cannot be listed: the text before the first colon of ``gym:ID`` or ``Hopper:limbs=0.75`` -> a
# function from the whole name to its entry.
ENV_FAMILIES: Registry[Callable[[str], EnvEntry]] = Registry("environment family", "weit_rl.envs")
# Names that stand for several environments where a list of them is allowed.
ENV_GROUPS: Registry[tuple[str, ...]] = Registry("group of environments", "weit_rl.envs")


def env_entry(name: str) -> EnvEntry:
    """Return the entry of that name; a name without its version is that of the newest version.

    Raises:
        UserError: if there is none, with the nearest and all possible names; or if the name is that of a group.
    """
    env, pixels = split_pixels(name)
    if pixels:
        by_state = env_entry(env_entry(env).name)  # the name of a body has one order of parameters
        return in_pictures(by_state, pixels, name.endswith(BESIDE))
    names = ENVS.names()
    prefix, colon, _ = name.partition(":")
    if colon and prefix in ENV_FAMILIES.names():
        return ENV_FAMILIES.get(prefix)(name)
    name = _with_version(name, names)
    if name not in names:
        _refuse_group(name)
        families = dict.fromkeys(f"{family}/..." for family, slash, _ in (n.partition("/") for n in names) if slash)
        shown = [*(n for n in names if "/" not in n), *families]
        shown += [f"{prefix}:ID" for prefix in ENV_FAMILIES.names() if prefix not in names]
        raise unknown_name_error("environment", name, names, shown)
    return ENVS.get(name)


def _with_version(name: str, names: list[str]) -> str:
    """Add the newest version to a name that has none and is not registered."""
    versions = {} if name in names else {one: re.fullmatch(re.escape(name) + r"-v(\d+)", one) for one in names}
    found = {int(match[1]): one for one, match in versions.items() if match}
    return found[max(found)] if found else name


def _refuse_group(name: str) -> None:
    if name in ENV_GROUPS.names():
        several = ENV_GROUPS.get(name)
        raise UserError(
            f"env {name}: stands for {len(several)} environments; name one of them here ({several[0]}, ...)"
        )


def entry_of_file(name: Any, where: str, asked: Any = None) -> EnvEntry:
    """Return the entry of an environment that a file names.

    Args:
        name: the name in the file.
        where: the file, for the error.
        asked: the name that the user gave, who may trust a module (default None: no name).

    Raises:
        UserError: if it is no environment's name, or if its module would be imported and run without the user giving
            the same name.
    """
    if not isinstance(name, str):
        raise UserError(f"{where}: names no environment, but {name!r:.60}")
    if imports_module(name) and name != asked:
        raise UserError(f"{where}: its environment imports a module; if you trust it, say so with env={name}")
    return env_entry(name)


def imports_module(name: str) -> bool:
    """Return True if an environment of that name imports a module, which runs the module's code."""
    env, _ = split_pixels(name)
    return env.startswith("gym:") and env.count(":") > 1
