"""The registry of launchers, and the interface of a launcher."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry, unknown_name_error
from weit_rl.options.benchmark_options import BenchmarkOptions, ImageBenchmarkOptions

Job = tuple[Callable[..., Any], tuple[Any, ...]]
Jobs = Mapping[str, Job]
JobResults = Generator[tuple[str, Any], None, None]  # names of jobs and their results
Work = Callable[[Jobs, "JobSettings"], JobResults]
TYPES = {int: "an integer", str: "a text", float: "a number", list: "a list such as [a, b]", dict: "a mapping"}


@dataclass(frozen=True)
class JobSettings:
    """The settings of jobs that every launcher gets.

    Attributes:
        workers: jobs at a time; None lets the launcher choose.
        threads: CPU threads per job.
        logs: folder of ``<name>.txt``, the output of a job.
    """

    workers: int | None
    threads: int
    logs: Path

    def log(self, name: str) -> Path:
        """Make the empty log file of a job, and its folder."""
        self.logs.mkdir(parents=True, exist_ok=True)
        path = (self.logs / f"{name}.txt").absolute()
        path.write_text("")
        return path


@dataclass(frozen=True)
class Launcher:
    """A way to run jobs, which are functions of a module with their arguments, by name.

    Attributes:
        work: ``work(jobs, settings, **options)`` yields names and results in the order in which jobs end. It raises
            UserError if a job raises one or is given up, and RuntimeError, which names the job, for a bug.
        check: ``check(**options)`` raises UserError if the launcher cannot work here.
        package: that must be installed; None (default) if none is needed.
        extra: of this project that installs the package.
    """

    work: Callable[..., JobResults]
    check: Callable[..., None] = lambda **options: None
    package: str | None = None
    extra: str = ""


LAUNCHERS: Registry[Launcher] = Registry("launcher", "weit_rl.comparison.launchers", "weit_rl.launchers")


def launcher_of(cfg: BenchmarkOptions | ImageBenchmarkOptions) -> Work:
    """Return the ``work(jobs, settings)`` that ``cfg.launcher`` and ``cfg.launcher_options`` name.

    Raises:
        UserError: for an unknown launcher or option, an option of another type, a missing package, or if the launcher
            cannot work here.
    """
    name, options = cfg.launcher, dict(cfg.launcher_options)
    launcher = LAUNCHERS.get(name)
    kinds = {option: plain_types(hint) for option, hint in get_type_hints(launcher.work).items()}
    known = list(inspect.signature(launcher.work).parameters)[2:]
    for option, value in options.items():
        if not known:
            raise UserError(f"launcher_options={options}: launcher={name} has none")
        if option not in known:
            raise unknown_name_error(f"option of launcher={name}", option, known)
        if not isinstance(value, kinds[option]) or isinstance(value, bool):
            wanted = " or ".join(word for kind, word in TYPES.items() if kind in kinds[option])
            raise UserError(f"launcher_options: {option}={value}: must be {wanted}")
        if isinstance(value, int | float) and value < 0:
            raise UserError(f"launcher_options: {option}={value}: must be 0 or more")
    if launcher.package and find_spec(launcher.package) is None:
        raise UserError(f"launcher={name} needs {launcher.package}: pip install 'weit_rl[{launcher.extra}]'")
    launcher.check(**options)
    return partial(launcher.work, **options)


def plain_types(hint: Any) -> tuple[type, ...]:
    """List the types of values that a type hint allows, such as list and NoneType for ``list[str] | None``."""
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        return tuple(kind for one in get_args(hint) for kind in plain_types(one))
    return (get_origin(hint) or hint,)
