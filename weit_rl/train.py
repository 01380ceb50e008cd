"""``python -m weit_rl.train``: ``--help`` lists the options."""

from __future__ import annotations

from typing import Any

from weit_rl.options.command import command
from weit_rl.options.image_training_options import TrainingOptions
from weit_rl.workflows.checks_before_torch import check_before_torch


def main(cfg: TrainingOptions) -> dict[str, Any]:
    """Run with a composed config (see ``weit_rl.options.command.compose``); returns the metrics."""
    from weit_rl.workflows.training import train

    return train(cfg)


if __name__ == "__main__":
    command("train", main, check=check_before_torch)
