"""``python -m weit_rl.benchmark``: ``--help`` lists the options."""

from __future__ import annotations

from typing import Any

from weit_rl.options.benchmark_options import BenchmarkOptions, ImageBenchmarkOptions
from weit_rl.options.command import command
from weit_rl.workflows.checks_before_torch import check_before_torch


def main(cfg: BenchmarkOptions | ImageBenchmarkOptions) -> dict[str, Any]:
    """Run with a composed config (see ``weit_rl.options.command.compose``); returns the report's path and its cells."""
    from weit_rl.comparison.benchmark_run import benchmark

    return benchmark(cfg)


if __name__ == "__main__":
    command("benchmark", main, check=check_before_torch)
