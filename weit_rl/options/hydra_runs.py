"""Commands by Hydra: options from a user's own folder, several runs with ``-m``, what is composed, shell completion.

Hydra composes, and what it composes is read and checked as a command's words are. A single run leaves nothing behind
but what it leaves without Hydra.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.output import print_line
from weit_rl.common.process_start import process_count
from weit_rl.common.registry import unknown_name_error
from weit_rl.options.hydra_config import declare, name_of, one_line, overrides, primary_config
from weit_rl.options.hydra_job import Job, Stopped, finished_jobs, job_table
from weit_rl.options.hydra_words import literal, read_flags, sweep_values
from weit_rl.options.option_fields import Options
from weit_rl.options.option_table import options, plain_config
from weit_rl.options.words import read_config

QUIET = {"hydra.output_subdir": "null", "hydra/job_logging": "none", "hydra/hydra_logging": "none"}


def run_by_hydra(
    verb: str, main: Callable[[Any], Any], words: Sequence[str], check: Callable[[str, Any], None]
) -> None:
    """Do what a command's words ask of Hydra.

    Args:
        verb: of the command.
        main: does the work, given the options.
        words: at least one is for Hydra (see :func:`weit_rl.options.hydra_words.is_for_hydra`).
        check: looks at the options before ``main``.

    Raises:
        UserError: for what is wrong in the words or in the user's folder.
        Interrupted: after a stop.
    """
    flags = read_flags(words)
    name = name_of(verb, flags)
    with one_line(name):
        declare(name, [word for word in flags.overrides if not flags.shell_completion])
        primary = primary_config(name, flags)
        asked = flags.overrides if flags.shell_completion else overrides(verb, name, flags)
    if flags.multirun:
        _multirun(verb, Job(verb, name, main, check), flags, primary, asked)
    elif flags.cfg in (None, "job") and not (flags.info or flags.shell_completion or flags.hydra_help):
        cfg = _composed(verb, name, flags, primary, asked)
        check(verb, cfg)
        if flags.cfg:
            print_line(_yaml(plain_config(cfg), flags.package), end="")
        else:
            main(cfg)
    else:
        with one_line(name):
            _hydra_main(primary, flags, asked)


def _yaml(plain: dict[str, Any], package: str | None) -> str:
    """Write options as YAML, all of them or a group."""
    shown: Any = plain
    if package not in (None, "_global_"):
        if package not in plain:
            raise unknown_name_error("package", str(package), list(plain))
        shown = plain[package]
    return str(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True))


def _composed(verb: str, name: str, flags: argparse.Namespace, primary: str, asked: list[str]) -> Options:
    """Compose the options of a single run."""
    from hydra import compose, initialize, initialize_config_dir
    from omegaconf import OmegaConf

    with one_line(name):
        place = (
            initialize(config_path=None, version_base=None)
            if flags.config_dir is None
            else initialize_config_dir(str(_folder(flags.config_dir)), version_base=None)
        )
        with place:
            plain: Any = OmegaConf.to_container(compose(primary, asked), resolve=True)
    return read_config(verb, plain, options(name))


def _folder(path: str) -> Path:
    folder = expand_home(path).absolute()
    if not folder.is_dir():
        raise UserError(f"--config-dir {path}: is no folder")
    return folder


def _multirun(verb: str, job: Job, flags: argparse.Namespace, primary: str, asked: list[str]) -> None:
    """Run several times, each in a folder of its own, and print a table of those that came to their end."""
    if process_count() > 1:
        raise UserError("-m: starts runs itself; leave torchrun out, and share each by trainer.devices")
    place = _new(f"runs/{verb}-{time.strftime('%Y%m%d-%H%M%S')}")
    for word in [word for word in asked if word.startswith("run_dir=") and sweep_values(word) is None]:
        asked.remove(word)
        place = options(job.name)["run_dir"].parse([w for w in flags.overrides if w.startswith("run_dir=")][-1][8:])
    given = {word.partition("=")[0]: word.partition("=")[2] for word in asked}
    usual = QUIET | {"hydra.job.name": verb, "hydra.sweep.dir": literal(str(expand_home(place)))}
    asked += [f"{key}={value}" for key, value in usual.items() if key not in given]
    folder = expand_home(given.get("hydra.sweep.dir", place))
    if (folder / "multirun.yaml").exists():
        raise UserError(f"{folder}: holds runs of -m already; choose another run_dir")
    try:
        with one_line(job.name):
            _hydra_main(primary, flags, asked, job)
    except Stopped as stopped:
        raise stopped.stop from None
    finally:
        if records := finished_jobs(folder):
            print_line(f"{folder}\n{job_table(records)}")
    if errors := [record["error"] for record in records if "error" in record]:
        raise UserError(errors[0] + (f"; and {len(errors) - 1} more, see their job.json" if errors[1:] else ""))


def _new(place: str) -> str:
    """Name a folder that there is not yet, of two in one second, too."""
    found, number = place, 1
    while os.path.exists(found):
        number += 1
        found = f"{place}-{number}"
    return found


def _hydra_main(primary: str, flags: argparse.Namespace, asked: Sequence[str], job: Any = None) -> None:
    """Call Hydra as a program of its own does: it reads flags and overrides where a program's words are."""
    import hydra

    words = ["--multirun"] if flags.multirun else []
    for name in ("cfg", "info", "package"):
        words += [f"--{name}", getattr(flags, name)] if getattr(flags, name) else []
    words += [f"--{name.replace('_', '-')}" for name in ("resolve", "hydra_help") if getattr(flags, name)]
    words += ["--shell-completion"] if flags.shell_completion else []
    words += ["--config-dir", str(_folder(flags.config_dir))] if flags.config_dir else []
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = [before[0], *words, *asked], "1"  # then it raises, and does not exit
    try:
        hydra.main(version_base=None, config_path=None, config_name=primary)(job or _nothing)()
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR")
        os.environ.update({"HYDRA_FULL_ERROR": full} if full is not None else {})


def _nothing(config: Any) -> None:
    """Do nothing: Hydra only prints here."""
