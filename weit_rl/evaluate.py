"""``python -m weit_rl.evaluate``: ``--help`` lists the options."""

from __future__ import annotations

from typing import Any

from weit_rl.options.command import command
from weit_rl.options.evaluate_options import EvaluateOptions
from weit_rl.options.image_run_options import ImageEvaluateOptions
from weit_rl.workflows.checks_before_torch import check_before_torch


def main(cfg: EvaluateOptions | ImageEvaluateOptions) -> dict[str, Any]:
    """Run with a composed config (see ``weit_rl.options.command.compose``); returns the metrics."""
    if isinstance(cfg, ImageEvaluateOptions):  # another task, whose options are those of weit_rl.vision mode=evaluate
        from weit_rl.vision import main as vision

        return vision(cfg)
    from weit_rl.comparison.compare_runs import compare_runs
    from weit_rl.workflows.evaluate_run import evaluate_run

    return evaluate_run(cfg) if cfg.compare is None else compare_runs(cfg)


if __name__ == "__main__":
    command("evaluate", main, check=check_before_torch)
