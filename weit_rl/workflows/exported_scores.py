"""Evaluate exported files: returns of episodes, or accuracy on test images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weit_rl.agents.evaluation import summary
from weit_rl.common.seeds import TEST
from weit_rl.deploy.measure import ExportedClassifier, Measured, episode_returns, exported_policy
from weit_rl.deploy.registry import Graph
from weit_rl.envs.crashes import check_failure_rate
from weit_rl.envs.registry import env_entry
from weit_rl.options.export_options import ExportOptions
from weit_rl.tasks.control import result_row
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.image_runs import task_of

Row = dict[str, Any]


def score_files(
    run: RunFolder, card: Row, graph: Graph, files: Mapping[str, Measured], cfg: ExportOptions
) -> tuple[dict[str, Row], list[Row]]:
    """Evaluate every file; returns its metrics, and table rows with metrics, size and latency."""
    score, metrics, rows = accuracy if "classes" in card else returns, {}, []
    for name, file in files.items():
        metrics[name], row = score(run, card, graph, name, file, cfg)
        cost = {"MB": f"{len(file.data) / 1e6:.3g}", "ms per call": f"{1000 * file.seconds:.3g}"}
        rows.append({**row, **cost, "difference": f"{file.difference:.1e}"})
    return metrics, rows


def returns(run: RunFolder, card: Row, graph: Graph, name: str, file: Measured, cfg: ExportOptions) -> tuple[Row, Row]:
    """Roll out a file in the test episodes of a run with the config's seed."""
    entry, seed = env_entry(card["env"]), TEST.of(cfg.seed)
    failed: list[int] = []
    succeeded: list[int] = []
    policy = exported_policy(file.step, graph)
    played = episode_returns(policy, entry, cfg.episodes, seed, failed, succeeded)
    check_failure_rate(entry.name, len(failed), cfg.episodes)
    metrics = summary(played, entry, len(failed), len(succeeded))
    return metrics, result_row(name, metrics, entry)


def accuracy(run: RunFolder, card: Row, graph: Graph, name: str, file: Measured, cfg: ExportOptions) -> tuple[Row, Row]:
    """Evaluate a file on the test images."""
    task = task_of(run, card, {"data": None, "device": "cpu"})
    metrics = task.evaluate(ExportedClassifier(file.step, graph.batch))
    return metrics, task.row(name, metrics)
