"""What exported files are worth: returns of episodes that they play, or the accuracy on test images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from weit_rl.agents.evaluation import SEEDS_APART, TEST_SEED, summary
from weit_rl.deploy.graph import Graph
from weit_rl.deploy.measure import Answers, Measured, acting, episode_returns
from weit_rl.envs.entry import env_entry
from weit_rl.tasks.control import result_row
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.vision import task_of

Scored = tuple[dict[str, Any], dict[str, Any]]  # metrics, and a row of a table


def scored(run: RunFolder, card: dict[str, Any], graph: Graph, files: Mapping[str, Measured], cfg: Any) -> list[Scored]:
    """The metrics of each file, and a row of a table with what it costs beside them."""
    score = accuracy if "classes" in card else returns
    found = [score(run, card, graph, name, file, cfg) for name, file in files.items()]
    for (_, row), file in zip(found, files.values(), strict=True):
        row["MB"], row["ms a call"] = f"{len(file.data) / 1e6:.3g}", f"{1000 * file.seconds:.3g}"
        row["difference"] = f"{file.difference:.1e}"
    return found


def returns(run: RunFolder, card: dict[str, Any], graph: Graph, name: str, file: Measured, cfg: Any) -> Scored:
    """Returns of the test episodes that a run of that seed ends with, played by the file."""
    entry, seed = env_entry(card["env"]), TEST_SEED + SEEDS_APART * cfg.seed
    metrics = summary(episode_returns(acting(file.step, graph), entry, cfg.episodes, seed), entry)
    return metrics, result_row(name, metrics, entry)


def accuracy(run: RunFolder, card: dict[str, Any], graph: Graph, name: str, file: Measured, cfg: Any) -> Scored:
    """Metrics of the file on the test images."""
    task = task_of(run, card, OmegaConf.create({"data": None, "device": "cpu"}))
    metrics = task.evaluate(Answers(file.step, graph.batch))
    return metrics, task.row(name, metrics)
