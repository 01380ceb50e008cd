"""Compose a command's options by Hydra: defaults, the user's own files over them, words over both."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.options.hydra_words import experiment, override
from weit_rl.options.option_table import made, options
from weit_rl.options.recipes import recipe_words
from weit_rl.options.words import CONTROL, VISION, VISION_MODES, config_name, find_option, nested

PRIMARY = "weit_rl_command"  # the config that puts a user's own over the options of a command
PLUGINS = ("joblib", "submitit_local", "submitit_slurm", "ray", "optuna")


def name_of(verb: str, flags: argparse.Namespace) -> str:
    """Name the options of the command; a shell that completes gives the words so far in a variable of its own."""
    if not flags.shell_completion:
        return config_name(verb, flags.overrides)
    try:
        return config_name(verb, os.environ.get("COMP_LINE", "").split())
    except UserError:
        return config_name(verb)


def declare(name: str, words: Sequence[str]) -> None:
    """Tell Hydra the options of a command, with the values of the recipe that words name."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    table, values = options(name), {}
    if name.startswith(VISION):
        for word in recipe_words(words, name.removeprefix(VISION), VISION_MODES):
            option = find_option(table, word.partition("=")[0])
            values[option.key] = option.parse(word.partition("=")[2])
    node = OmegaConf.structured(made(name, nested(values)))
    if OmegaConf.is_dict(node.get("size")):  # a file may say size: 96x3
        node.size = OmegaConf.create(OmegaConf.to_container(node.size))
    ConfigStore.instance().store(name=name, node=node, provider="weit_rl")


def primary_config(name: str, flags: argparse.Namespace) -> str:
    """Name the config that Hydra begins with: the command's options, or the user's own, which it puts over them."""
    from hydra.core.config_store import ConfigStore

    if flags.config_name is None:
        return name
    if flags.config_dir is None:
        raise UserError(f"--config-name {flags.config_name}: name its folder, too, --config-dir DIR")
    own = expand_home(flags.config_dir) / f"{flags.config_name.removesuffix('.yaml')}.yaml"
    if not own.is_file():
        raise UserError(f"--config-name {flags.config_name}: {flags.config_dir} has no {own.name}")
    if name in (_yaml(own).get("defaults") or []):
        return str(flags.config_name)
    ConfigStore.instance().store(name=PRIMARY, node={"defaults": [name, flags.config_name, "_self_"]})
    return PRIMARY


def overrides(verb: str, name: str, flags: argparse.Namespace) -> list[str]:
    """Write the user's words in Hydra's grammar."""
    table, found = options(name), []
    for word in flags.overrides:
        if word == f"task={CONTROL}" and verb != "vision":
            continue
        if word.startswith("+"):
            word = experiment(word, table)
        if not word.startswith(("+", "~", "hydra.", "hydra/")):
            key, equals, _ = word.partition("=")
            if not equals:
                raise UserError(f"{word}: options are key=value words, such as {next(iter(table))}=...")
            word = override(word, find_option(table, key), flags.multirun)
        found.append(word)
    return found


@contextlib.contextmanager
def one_line(name: str) -> Iterator[None]:
    """Turn what Hydra refuses inside into one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except yaml.YAMLError as error:
        raise UserError(f"a file of options is no YAML ({' '.join(str(error).split())[:300]})") from error
    except (HydraException, OmegaConfBaseException) as error:
        if key := getattr(error.__cause__, "full_key", "") or "".join(re.findall(r"full_key: (\S+)", str(error))[:1]):
            find_option(options(name), key)
        text = " ".join(re.split(r"Config search path|full_key:", str(error))[0].split())
        text = re.sub(r"\w+Error raised while composing config: ", f"{key}: " if key else "", text)
        extra = next((plugin.partition("_")[0] for plugin in PLUGINS if f"/{plugin}'" in text), "")
        raise UserError(f"{text}; pip install 'weit_rl[hydra-{extra}]'" if extra else text) from error


def _yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is no YAML ({' '.join(str(error).split())[:120]})") from error
    return found if isinstance(found, dict) else {}
