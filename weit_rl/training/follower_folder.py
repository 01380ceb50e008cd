"""A run folder in a process that trains with others and does not lead them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weit_rl.training.run_folder import RunFolder


class Follower(RunFolder):
    """Reads what the process that leads wrote, and writes nothing: no metrics, no reports, no pictures."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def log_image(self, step: int, name: str, picture: bytes) -> None:
        """Nothing."""

    def log_hparams(self, results: Mapping[str, Any]) -> None:
        """Nothing."""

    def write_json(self, name: str, data: Any) -> None:
        """Nothing."""

    def plot_learning_curve(
        self, stages: Mapping[str, int] | None = None, behaviour_return: float | None = None
    ) -> Path:
        """Where the picture would lie."""
        return self.path / "learning_curve.png"
