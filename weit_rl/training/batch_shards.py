"""A batch divided among processes: every one draws it whole, from the same seed, and takes the examples it is to see.

So all together see what a single process would, and their mean gradient is its gradient, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

WEIGHT = "weight"  # of a part, beside its tensors: a loss that is a mean over marked steps counts by their number


class Division:
    """Gives tasks the part of one process.

    Args:
        rank: its number.
        count: of the processes.
    """

    def __init__(self, rank: int, count: int):
        self.rank, self.count, self.whole = rank, count, True

    def divide(self, task: Any) -> None:
        """Let a task's batches be parts, where they are not whole, and the mean of their losses that of the whole."""
        batch, loss = task.batch, task.loss

        def weighted(net: Any, part: dict[str, Tensor]) -> Tensor:
            value: Tensor = loss(net, part)
            return value * part[WEIGHT].to(value) if WEIGHT in part else value

        task.batch = lambda step: batch(step) if self.whole else self.part(batch(step))
        task.loss = weighted

    def part(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The examples of this process, along the first axis of all tensors."""
        part = {name: tensor.chunk(self.count)[self.rank] for name, tensor in batch.items()}
        if "mask" in batch:  # real steps: windows may be short
            part[WEIGHT] = self.count * part["mask"].sum().double() / batch["mask"].sum()
        return part

    @contextmanager
    def in_parts(self) -> Iterator[None]:
        """Inside, batches are parts."""
        self.whole = False
        try:
            yield
        finally:
            self.whole = True
