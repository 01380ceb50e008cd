"""Train a network of any size, offline, or offline and then online."""

from __future__ import annotations

from typing import Any, cast

from weit_rl.options.image_training_options import TrainingOptions
from weit_rl.options.train_options import TrainOptions
from weit_rl.workflows.run_launch import launch
from weit_rl.workflows.train_run import TrainRun


def train(cfg: TrainingOptions) -> dict[str, Any]:
    """Run or resume a training; returns the content of evaluation.json."""
    return launch("train", cfg, run_of, TrainRun.result)


def run_of(cfg: TrainingOptions) -> TrainRun:
    """Make the run of a config, with an online stage if it names an agent."""
    if cfg.get("agent") is None:
        return TrainRun(cfg)
    from weit_rl.workflows.online_stage import OnlineRun

    return OnlineRun(cast("TrainOptions", cfg))
