"""Score the networks of a training run: validations, the final test, the table of results."""

from __future__ import annotations

from typing import Any

from torch import nn

from weit_rl.common.seeds import TEST, VALIDATION
from weit_rl.data.readers import data_name
from weit_rl.envs.crashes import ADVICE, check_failure_rate
from weit_rl.options.image_training_options import TrainingOptions
from weit_rl.storage.tensor_file import read_card
from weit_rl.tasks import Task
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.training.progress import print_table
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.resume_command import words_to_resume

FAILED = "failed_episodes"


class Scores:
    """The scores of a run's networks.

    Args:
        run: the run's folder.
        task: the task.
        cfg: the run's config.
    """

    def __init__(self, run: RunFolder, task: Task, cfg: TrainingOptions):
        self.run, self.task, self.cfg = run, task, cfg
        self.best = run.checkpoint_path("best")

    def validate(self, net: nn.Module, card: dict[str, Any], step: int) -> None:
        """Score a network on the validation split, and save it if it is the best so far."""
        done = dict(self.run.metrics().get("validation/loss", []))
        episodes = self.cfg.get("validation_episodes", int(self.cfg.get("validation", True)))
        if episodes == 0 or step in done:  # the run did it before it was resumed
            return
        metrics = self.task.evaluate(net, episodes, VALIDATION.of(self.cfg.seed), "held_out")
        if not done:  # at the first one, before time is spent on an environment that fails in most episodes
            self.check(metrics, "or leave validations out (validation_episodes=0)")
        found = {f"validation_{name}": metrics[name] for name in (self.task.measure, FAILED) if name in metrics}
        if not self.best.exists() or self.rank(found) > self.rank(read_card(self.best)):
            save_network(self.best, net, card | {"step": step, **found})
        failed = {FAILED: metrics[FAILED]} if metrics.get(FAILED) else {}
        values = {**self.task.logged(metrics), **failed, "loss": self.task.validation_loss(net)}
        self.run.log(step, {f"validation/{name}": value for name, value in values.items()})

    def rank(self, card: dict[str, Any]) -> tuple[int, float]:
        """Return the key that ranks networks: fewest failed episodes first, since these can have high returns."""
        return -card.get(f"validation_{FAILED}", 0), card[f"validation_{self.task.measure}"]

    def check(self, metrics: dict[str, Any], advice: str) -> None:
        """Raise UserError if most episodes failed."""
        check_failure_rate(self.task.name, metrics.get(FAILED, 0), metrics.get("episodes", 0), f"{ADVICE}, {advice}")

    def test(self, net: nn.Module) -> dict[str, dict[str, Any]]:
        """Score the last network, and the best if there is one, on the test split, which chose nothing."""
        nets = {"last": net}
        if self.best.exists():
            nets["best"] = load_network(self.best)[0].to(self.task.config.device)
        seed = TEST.of(self.cfg.seed)
        episodes = self.cfg.get("episodes", 1)
        results = {name: self.task.evaluate(net, episodes, seed, "test") for name, net in nets.items()}
        for name, metrics in results.items():
            again = words_to_resume(self.run.path, self.cfg)
            self.check(metrics, f"then {again}: the network is kept (checkpoint={name})")
        return results

    def show(self, results: dict[str, dict[str, Any]], title: str) -> None:
        """Print the table of results; the last row is the data's own episodes."""
        reference = self.task.reference()
        shown = {**results, **({f"data ({data_name(self.cfg.data)})": reference} if reference else {})}
        print_table(title, [self.task.row(name, metrics) for name, metrics in shown.items()])
