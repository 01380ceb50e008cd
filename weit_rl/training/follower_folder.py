"""Open a run folder in a process that trains with others but does not lead them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weit_rl.training.run_folder import RunFolder


class FollowerFolder(RunFolder):
    """A run folder that is only read: the process that leads writes metrics, reports and pictures."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def log_image(self, step: int, name: str, picture: bytes) -> None:
        """Do nothing."""

    def log_hparams(self, results: Mapping[str, Any]) -> None:
        """Do nothing."""

    def write_json(self, name: str, data: Any) -> None:
        """Do nothing."""

    def plot_learning_curve(
        self, stages: Mapping[str, int] | None = None, behaviour_return: float | None = None
    ) -> Path:
        """Return the path of the picture; nothing is drawn."""
        return self.path / "learning_curve.png"
