"""Make behaviour data, record the episodes of an agent, or look at a data set.

``python -m weit_rl.collect env=HalfCheetah``
"""

from __future__ import annotations

from typing import Any

from weit_rl.options.collect_options import CollectOptions
from weit_rl.options.command import command
from weit_rl.workflows.checks_before_torch import check_before_torch


def main(cfg: CollectOptions) -> dict[str, Any]:
    """Run with a composed config (see ``weit_rl.options.command.compose``); returns the numbers it prints."""
    from weit_rl.workflows.collect_modes import collect

    return collect(cfg)


if __name__ == "__main__":
    command("collect", main, check=check_before_torch)
