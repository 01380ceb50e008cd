"""The registry of launchers, and what each is told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry, unknown
from weit_rl.options.benchmark_options import BenchmarkOptions, ImageBenchmarkOptions

Job = tuple[Callable[..., Any], tuple[Any, ...]]
Jobs = Mapping[str, Job]
Results = Generator[tuple[str, Any], None, None]  # names and what jobs gave
Work = Callable[[Jobs, "Place"], Results]
TYPES = {int: "an integer", str: "a text", float: "a number", list: "a list such as [a, b]", dict: "a mapping"}


@dataclass(frozen=True)
class Place:
    """What every launcher is told beside the jobs.

    Attributes:
        workers: jobs at a time; None lets the launcher choose.
        threads: CPU threads of a job.
        logs: folder for ``<name>.txt``, what a job printed.
    """

    workers: int | None
    threads: int
    logs: Path

    def log(self, name: str) -> Path:
        """The file of a job, empty, in an existing folder."""
        self.logs.mkdir(parents=True, exist_ok=True)
        path = (self.logs / f"{name}.txt").absolute()
        path.write_text("")
        return path


@dataclass(frozen=True)
class Launcher:
    """A way to work on jobs, which are functions of a module and their arguments, by name.

    Attributes:
        work: ``work(jobs, place, **options)`` gives names and results in the order in which jobs end. It raises
            UserError for what a job raised or when one is given up, and RuntimeError, which names the job, for a bug.
        check: ``check(**options)`` raises UserError where it cannot work at all.
        package: that must be installed; None (default) for one that needs nothing.
        extra: of this project that installs it.
    """

    work: Callable[..., Results]
    check: Callable[..., None] = lambda **options: None
    package: str | None = None
    extra: str = ""


LAUNCHERS: Registry[Launcher] = Registry("launcher", "weit_rl.comparison.launchers", "weit_rl.launchers")


def launcher_of(cfg: BenchmarkOptions | ImageBenchmarkOptions) -> Work:
    """The ``work(jobs, place)`` that ``cfg.launcher`` and ``cfg.launcher_options`` name.

    Raises:
        UserError: for an unknown launcher or option, an option of another type, a package that is
            not installed, or where the launcher cannot work.
    """
    name, options = cfg.launcher, dict(cfg.launcher_options)
    launcher = LAUNCHERS.get(name)
    kinds = get_type_hints(launcher.work)
    known = list(inspect.signature(launcher.work).parameters)[2:]
    for option, value in options.items():
        if not known:
            raise UserError(f"launcher_options={options}: launcher={name} has none")
        if option not in known:
            raise unknown(f"option of launcher={name}", option, known)
        if not isinstance(value, kinds[option]) or isinstance(value, bool):
            wanted = " or ".join(word for kind, word in TYPES.items() if isinstance(kind(), kinds[option]))
            raise UserError(f"launcher_options: {option}={value}: must be {wanted}")
        if isinstance(value, int | float) and value < 0:
            raise UserError(f"launcher_options: {option}={value}: must be 0 or more")
    if launcher.package and find_spec(launcher.package) is None:
        raise UserError(f"launcher={name} needs {launcher.package}: pip install 'weit_rl[{launcher.extra}]'")
    launcher.check(**options)
    return partial(launcher.work, **options)
