"""``python -m weit_rl.train``: see configs/train.yaml for the options."""

from __future__ import annotations

from typing import Any

from weit_rl.command import command


def main(cfg: Any) -> dict[str, Any]:
    """Run with a composed config (see ``weit_rl.command.compose``); returns the metrics."""
    from weit_rl.workflows.train import train

    return train(cfg)


if __name__ == "__main__":
    command("train", main)
