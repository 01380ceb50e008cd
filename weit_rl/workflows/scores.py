"""What a training run is worth: validation on the way, test episodes at the end, the table a user sees."""

from __future__ import annotations

from typing import Any

from torch import nn

from weit_rl.agents.evaluation import SEEDS_APART, TEST_SEED, VALIDATION_SEED
from weit_rl.data.readers import data_name
from weit_rl.envs.entry import EnvEntry
from weit_rl.tasks.control import Control
from weit_rl.tensorfile import read_card
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.training.progress import table
from weit_rl.training.run_folder import RunFolder


class Scores:
    """Scores the networks of a run.

    Args:
        run: the run's folder.
        task: of the run.
        cfg: its config.
    """

    def __init__(self, run: RunFolder, task: Control, cfg: Any):
        self.run, self.task, self.cfg = run, task, cfg
        self.best = run.checkpoint_path("best")

    def validate(self, net: nn.Module, card: dict[str, Any], step: int) -> None:
        """Score on validation seeds; keeps the best network."""
        done = dict(self.run.metrics().get("validation/return", []))
        if self.cfg.validation_episodes == 0 or step in done:  # done before this run was resumed
            return
        seed = VALIDATION_SEED + SEEDS_APART * self.cfg.seed
        metrics = self.task.evaluate(net, self.cfg.validation_episodes, seed)
        value = metrics["return_mean"]
        if not self.best.exists() or value > read_card(self.best)["validation_return"]:
            save_network(self.best, net, card | {"step": step, "validation_return": value})
        values = {"return": value, "score": metrics["score"], "loss": self.task.validation_loss(net)}
        self.run.log(step, {f"validation/{name}": value for name, value in values.items() if value is not None})

    def test(self, net: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns of the last network, and of the best if there is one, on test seeds, which nothing was chosen by."""
        nets = {"last": net}
        if self.best.exists():
            nets["best"] = load_network(self.best)[0].to(self.task.config.device)
        seed = TEST_SEED + SEEDS_APART * self.cfg.seed
        return {name: self.task.evaluate(net, self.cfg.episodes, seed) for name, net in nets.items()}

    def show(self, results: dict[str, dict[str, Any]], title: str) -> None:
        """Print the table, the data's own episodes last."""
        shown = {**results, f"data ({data_name(self.cfg.data)})": self.task.behaviour()}
        table(title, [result_row(name, metrics, self.task.entry) for name, metrics in shown.items()])


def result_row(name: str, metrics: dict[str, Any], entry: EnvEntry) -> dict[str, Any]:
    """One row of the table."""
    return {
        "": name,
        "return": metrics["return_mean"],
        "+-": metrics["return_std"],
        "episodes": metrics["episodes"],
        entry.score_name: metrics["score"],
    }
