"""Train a network of any size, offline, or offline and then online."""

from __future__ import annotations

from typing import Any

from weit_rl.workflows.run_launch import launch
from weit_rl.workflows.train_run import TrainRun


def train(cfg: Any) -> dict[str, Any]:
    """Run or resume a training; returns the content of evaluation.json."""
    return launch("train", cfg, run_of, TrainRun.result)


def run_of(cfg: Any) -> TrainRun:
    """Make the run of a config, with an online stage if it names an agent."""
    if cfg.get("agent") is None:
        return TrainRun(cfg)
    from weit_rl.workflows.online_stage import OnlineRun

    return OnlineRun(cfg)
