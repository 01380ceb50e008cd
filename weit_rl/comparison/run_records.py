"""Recorded training runs, read from their folders, for comparing runs made anywhere at any time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.envs.registry import EnvEntry, entry_of_file
from weit_rl.initializers import INITIALIZERS
from weit_rl.options.choices import DEFAULT, size_of
from weit_rl.options.option_table import plain_config, with_added
from weit_rl.training.learning_curve import Points
from weit_rl.training.run_folder import RunFolder, checked_config
from weit_rl.workflows.train_run import TrainRun
from weit_rl.workflows.train_setup import stage_steps

PLACES = ("run_dir", "resume", "device", "threads", "trainer")  # options that do not change a run's result
MEASURES = ("return_mean", "return_std", "score", "failed_episodes", "flops", "seconds")
SCORED = 4  # the first four belong to one checkpoint, the others to the whole run
SIZES = {"name", "width", "depth"}
NEEDED = ("env", "size", "init", "train_steps", "seed")  # options that only training runs have


class RecordedRun:
    """A recorded training run, finished or not.

    Args:
        path: its folder.
        env: environment whose module may be imported (default None: none may).

    Attributes:
        folder: the opened folder.
        report: content of its evaluation.json; None if it is unfinished.
        entry: its environment.

    Raises:
        UserError: if it is no run folder, one of another command, or damaged.
    """

    def __init__(self, path: str, env: str | None = None):
        self.path, self.folder = expand_home(path), RunFolder.open(expand_home(path))
        sizes = self.folder.config.get("size")
        whole = hasattr(sizes, "keys") and set(sizes) >= SIZES
        if not whole or any(key not in self.folder.config for key in NEEDED):
            raise UserError(f"{path}: is no run of weit_rl.train, and only those can be compared")
        self.config = with_added(plain_config(self.folder.config), "train")
        self.metrics = self.folder.metrics()
        checked_config(self.folder.config, "train", path)
        if not isinstance(self.config["env"], str):
            raise UserError(f"{path}: is of {len(self.config['env'])} tasks; only runs of one can be compared")
        self.entry: EnvEntry = entry_of_file(self.config["env"], path, env)
        self.report = _report(self.path / TrainRun.result)

    @property
    def online(self) -> bool:
        """Return True if the run has an online stage, counted in environment steps after the gradient steps."""
        return self.config.get("agent") is not None

    @cached_property
    def offline_steps(self) -> int:
        """Return the gradient steps of its offline stages when they are finished."""
        own = stage_steps(INITIALIZERS.get(self.config["init"]), self.config.get("scaler_steps"))
        return own + int(self.config["train_steps"])

    def alike(self) -> str:
        """Return all options except the seed as text, equal for runs that differ only by their seed."""
        own = {key: value for key, value in self.config.items() if key not in (*PLACES, "seed")}
        return json.dumps(own, sort_keys=True, default=str)

    def row(self, name: str, checkpoint: str) -> dict[str, Any]:
        """Return its row of a table; None for values that an unfinished run does not have.

        Args:
            name: of the run.
            checkpoint: "best" or "last"; a run that never validated has only its last network.
        """
        report = self.report or {}
        best = report.get("best") if checkpoint == "best" else None
        scored, done = best or report, self.folder.last_step()
        return {
            "run": name,
            "env": self.entry.name,
            "model": self.config.get("model", DEFAULT),
            "size": report.get("size", str(size_of(self.folder.config.size))),
            "init": self.config["init"],
            "seed": self.config["seed"],
            "checkpoint": ("best" if best else "last") if report else None,
            "steps": min(done, self.offline_steps),
            "online_steps": max(0, done - self.offline_steps) or None,
            **{key: scored.get(key) for key in MEASURES[:SCORED]},
            **{key: report.get(key) for key in MEASURES[SCORED:]},
        }

    def training_loss(self) -> Points:
        """Return the losses of all stages, in the order of their steps."""
        names = [name for name in self.metrics if name.endswith("/loss") and name != "validation/loss"]
        return sorted(point for name in names for point in self.metrics[name])

    @cached_property
    def counts_flops(self) -> bool:
        """Return True if the FLOPs at every step are known: the run is finished and has no online stage."""
        return self.report is not None and not self.online and any(n.endswith("/flops") for n in self.metrics)

    def flops_at(self, steps: Sequence[float]) -> np.ndarray:
        """Return the FLOPs spent at some steps; within a stage they grow linearly."""
        ends = sorted(points[-1] for name, points in self.metrics.items() if name.endswith("/flops"))
        if not ends or ends[0][0] > 0:
            ends = [(0, 0.0), *ends]
        return np.interp(steps, [step for step, _ in ends], list(accumulate(spent for _, spent in ends)))

    def seconds_at(self, steps: Sequence[float]) -> np.ndarray:
        """Return the seconds since the run began at some steps, including validation."""
        known = [(0, 0.0), *self.metrics.get("time/seconds", [])]
        return np.interp(steps, [step for step, _ in known], [seconds for _, seconds in known])


def recorded_runs(paths: Sequence[str], env: str | None = None) -> dict[str, RecordedRun]:
    """Open runs, named by their folders, or by their paths if names repeat.

    Args:
        paths: of the folders.
        env: see :class:`RecordedRun`.

    Raises:
        UserError: for fewer than two, or for one given twice.
    """
    if len(paths) < 2:
        raise UserError(f"compare={','.join(paths)}: needs at least two run folders, compare=[RUN, RUN]")
    runs = [RecordedRun(path, env) for path in paths]
    places = [run.path.resolve() for run in runs]
    if len(set(places)) < len(places):
        raise UserError(f"compare: {next(p for p in places if places.count(p) > 1)} is given twice; name each run once")
    distinct = len({place.name for place in places}) == len(places)
    return {(place.name if distinct else str(path)): run for place, path, run in zip(places, paths, runs, strict=True)}


def by_seed(runs: dict[str, RecordedRun]) -> dict[str, list[str]]:
    """Group the names of runs that differ only by their seed; the first run names a group."""
    groups: dict[str, list[str]] = {}
    for name, run in runs.items():
        groups.setdefault(run.alike(), []).append(name)
    return {_called(names, [runs[name].config["seed"] for name in names]): names for names in groups.values()}


def _called(names: Sequence[str], seeds: Sequence[int]) -> str:
    """Return the name of a group with its number of seeds, since two runs of one seed count as one."""
    runs, distinct = len(names), len(set(seeds))
    if runs == 1:
        return names[0]
    if distinct == 1:
        return f"{names[0]}, {runs} runs of seed {seeds[0]}"
    return f"{names[0]}, {distinct} seeds" + (f" in {runs} runs" if runs > distinct else "")


def seed_means(values: Sequence[float], seeds: Sequence[int]) -> list[float]:
    """Average the runs of each seed, since runs of one seed are not independent.

    Args:
        values: one per run.
        seeds: of the runs.
    """
    return [
        float(np.mean([v for v, of in zip(values, seeds, strict=True) if of == seed])) for seed in dict.fromkeys(seeds)
    ]


def _report(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        best = report.get("best")
        for found in (report, best or {}):
            _check_numbers(found)
        return {**report}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: is no JSON file of weit_rl.train; restore it") from error


def _check_numbers(report: dict[str, Any]) -> None:
    """Raise TypeError for a measure that is no number."""
    for name in MEASURES:
        if not isinstance(report.get(name), int | float | None):
            raise TypeError(name)
