"""Tasks: what a network is trained for. One file each; a new one adds itself with a line ``TASKS.add(...)``."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from weit_rl.plan import Plan
from weit_rl.registry import Registry
from weit_rl.sizes import Size


class Task(Protocol):
    """What the training loop and the initialisers need to know of a domain."""

    plan: Plan

    def build(self, size: Size, seed: int = 0) -> nn.Module:
        """A fresh network of a size, from the model's own initialisation."""
        ...

    def batch(self, step: int) -> Any:
        """The batch of a step; the same step always gives the same batch."""
        ...

    def loss(self, net: Any, batch: Any) -> Tensor:
        """The loss of a batch; ``net`` is called as the network is."""
        ...

    def evaluate(self, net: nn.Module, episodes: int, seed: int) -> dict[str, Any]:
        """Metrics of a plain network."""
        ...


TASKS: Registry[Any] = Registry("task")

from weit_rl.tasks import control  # noqa: E402,F401  (each adds itself)
