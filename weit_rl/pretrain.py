"""``python -m weit_rl.pretrain``: ``--help`` lists the options."""

from __future__ import annotations

from typing import Any

from weit_rl.options.command import command
from weit_rl.options.image_training_options import PretrainingOptions
from weit_rl.workflows.checks_before_torch import check_before_torch


def main(cfg: PretrainingOptions) -> dict[str, Any]:
    """Run with a composed config (see ``weit_rl.options.command.compose``); returns the metrics."""
    from weit_rl.workflows.pretrain_run import pretrain

    return pretrain(cfg)


if __name__ == "__main__":
    command("pretrain", main, check=check_before_torch)
