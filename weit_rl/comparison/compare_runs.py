"""A comparison of given runs, finished or not: one table, one picture of their curves, new episodes on request."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.agents.evaluation import episode_returns, summary
from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.output import print_line
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.seeds import COMPARISON
from weit_rl.comparison.overlay import overlaid
from weit_rl.comparison.run_records import RecordedRun, by_seed, recorded_runs, seed_means
from weit_rl.comparison.statistics import Estimate, mean
from weit_rl.envs.crashes import check_failure_rate
from weit_rl.options.choices import check_numbers
from weit_rl.options.evaluate_options import EvaluateOptions
from weit_rl.storage.atomic_write import cannot_write_error, unused_path, write_atomically
from weit_rl.training.progress import print_table
from weit_rl.workflows.evaluate_run import policy_of
from weit_rl.workflows.resume_command import command_to_resume

CHECKPOINTS = ("best", "last")  # checkpoints that a run evaluates itself
RETURNS = {"return": "return_mean", "+-": "return_std"}  # shown only if all runs share an environment
BY_SCORE = "of several environments, so by score only"
COLUMNS = ("run", "env", "model", "size", "init", "seed", "checkpoint", "steps", "online_steps")


def compare_runs(cfg: EvaluateOptions) -> dict[str, Any]:
    """Compare the runs of ``cfg.compare``; return the content of comparison.json.

    Raises:
        UserError: for wrong input, before anything is played or written.
    """
    check_numbers(cfg)
    runs = recorded_runs([cfg.compare] if isinstance(cfg.compare, str) else list(cfg.compare or []), cfg.env)
    one_env = len({run.entry.name for run in runs.values()}) == 1
    _check(cfg, runs, one_env)
    groups, folder = by_seed(runs), _folder(cfg.out)
    report: dict[str, Any] = {"runs": [run.row(name, cfg.checkpoint) for name, run in runs.items()]}
    by_return = one_env and not next(iter(runs.values())).entry.success
    report["over_seeds"] = over_seeds(report["runs"], groups, "return_mean" if by_return else "score")
    _show(report, runs, one_env)
    if cfg.fresh:
        report["fresh"] = side_by_side(cfg, runs)
    picture = overlaid({name: [runs[member] for member in members] for name, members in groups.items()}, by_return)
    return report | {"files": _write(folder, report, picture)}


def over_seeds(rows: list[dict[str, Any]], groups: Mapping[str, list[str]], measure: str) -> dict[str, Estimate]:
    """Return the mean over the finished runs of every group of several, with its 95 % interval over their seeds."""
    done = {row["run"]: row for row in rows if row[measure] is not None}
    found = {name: [done[member] for member in members if member in done] for name, members in groups.items()}
    return {
        name: mean([seed_means([row[measure] for row in some], [row["seed"] for row in some])])
        for name, some in found.items()
        if len(some) > 1
    }


def side_by_side(cfg: EvaluateOptions, runs: Mapping[str, RecordedRun]) -> list[dict[str, Any]]:
    """Evaluate every run on the same unseen episodes; differences are paired with the first run."""
    seed = COMPARISON.of(cfg.seed)
    rows: list[dict[str, Any]] = []
    played: list[np.ndarray] = []
    for name, run in runs.items():
        checkpoint, net = _policy(cfg, run)
        failed: list[int] = []
        succeeded: list[int] = []
        returns = episode_returns(net, run.entry, cfg.episodes, seed, failed, succeeded)
        check_failure_rate(run.entry.name, len(failed), cfg.episodes)
        won = np.isin(np.arange(seed, seed + cfg.episodes), succeeded)
        played.append(100.0 * won if run.entry.success else returns)
        less = {"less_the_first": mean([np.subtract(played[-1], played[0]).tolist()])} if rows else {}
        measured = summary(returns, run.entry, len(failed), len(succeeded))
        rows.append({"run": name, "checkpoint": checkpoint, **measured, **less})
    shown = [
        {
            **{key: row[key] for key in ("run", "checkpoint")},
            **{title: row[key] for title, key in RETURNS.items()},
            run.entry.score_name: row["score"],
            **_failed(row, rows),
            f"less {rows[0]['run']} (95 %)": row["less_the_first"].text() if "less_the_first" in row else "-",
        }
        for row, run in zip(rows, runs.values(), strict=True)
    ]
    print_table(f"{cfg.episodes} fresh episodes, the same for all; differences episode by episode", shown)
    return rows


def _policy(cfg: EvaluateOptions, run: RecordedRun) -> tuple[str, Any]:
    """Return the checkpoint's name and its network; a run that never validated has only its last checkpoint."""
    unvalidated = cfg.checkpoint == "best" and not run.folder.checkpoint_path("best").exists()
    name = "last" if unvalidated else cfg.checkpoint
    return name, policy_of(run.folder, name, cfg)[0]


def _check(cfg: EvaluateOptions, runs: Mapping[str, RecordedRun], one_env: bool) -> None:
    envs = ", ".join(dict.fromkeys(run.entry.name for run in runs.values()))
    if cfg.run is not None or cfg.video:
        raise UserError("compare: leave out run and video=true, which need a single run")
    if cfg.fresh and not one_env:
        raise UserError(f"fresh=true: these runs are of several environments ({envs}); leave it out to compare scores")
    if not cfg.fresh and cfg.checkpoint not in CHECKPOINTS:
        raise unknown_name_error("checkpoint", cfg.checkpoint, list(CHECKPOINTS))
    for name, run in runs.items() if not one_env else ():
        if run.entry.score(0, 0) is None:
            raise UserError(
                f"compare: runs of several environments ({envs}) compare by score only, and {name} has none "
                f"({run.entry.name} has no reference returns)"
            )
    if cfg.fresh:
        for run in runs.values():
            _policy(cfg, run)  # raises for a missing checkpoint before anything is played


def _show(report: Mapping[str, Any], runs: Mapping[str, RecordedRun], one_env: bool) -> None:
    """Print the tables that need no episodes."""
    measured = {**(RETURNS if one_env else {}), "score": "score"}
    first = report["runs"][0]  # columns that are equal in all runs go into the title
    shared = {key: first[key] for key in COLUMNS[1:] if all(row[key] == first[key] for row in report["runs"])}
    rows = [
        {
            **{key.replace("_", " "): row[key] for key in COLUMNS if key not in shared},
            **{title: row[key] for title, key in measured.items()},
            **_failed(row, report["runs"]),
            "FLOPs": None if row["flops"] is None else f"{row['flops']:.3g}",
            "seconds": row["seconds"],
        }
        for row in report["runs"]
    ]
    alike = ", ".join(f"{key} {value}" for key, value in shared.items() if value is not None)
    print_table(
        f"{len(runs)} runs" + (f", all of {alike}" if alike else "") + ("" if one_env else "; " + BY_SCORE), rows
    )
    for name, estimate in report["over_seeds"].items():
        alone = "; no interval, since all are of one seed" if math.isnan(estimate.low) else ""
        print_line(f"{name}: mean of those that are finished {estimate.text()}{alone}")
    for name, run in runs.items():
        if run.report is None:
            again = command_to_resume("train", run.path, run.folder.config)
            print_line(f"unfinished: {name}, at step {run.folder.last_step()}; go on with: {again}")


def _failed(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the column of failed episodes, if any run has some."""
    name = "failed_episodes"
    return {name.replace("_", " "): row[name]} if any(one[name] for one in rows) else {}


def _folder(out: str | None) -> Path:
    folder = expand_home(out or f"runs/comparison-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write_error(folder, error) from error
    return folder


def _write(folder: Path, report: dict[str, Any], picture: bytes) -> list[str]:
    """Write comparison.json and comparison.png under names that are not taken."""
    numbers = {"over_seeds": {name: _plain(estimate) for name, estimate in report["over_seeds"].items()}}
    fresh = [{key: _plain(value) for key, value in row.items()} for row in report.get("fresh", [])]
    text = json.dumps(report | numbers | {"fresh": fresh}, indent=2) + "\n"
    files = {unused_path(folder / "comparison.json"): text.encode(), unused_path(folder / "comparison.png"): picture}
    for path, data in files.items():
        write_atomically(path, data)
        print_line(f"written: {path}")
    return [str(path) for path in files]


def _plain(value: Any) -> Any:
    """Convert an estimate to JSON by the names of its parts; NaN becomes null."""
    if not isinstance(value, Estimate):
        return value
    return {name: None if math.isnan(part) else part for name, part in value._asdict().items()}
