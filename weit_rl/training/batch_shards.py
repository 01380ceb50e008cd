"""Shards of batches: every process draws the same batch and trains on its own part of it.

The mean of the processes' gradients is then the gradient of a single process, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

WEIGHT = "weight"  # in a shard: corrects losses that are a mean over marked steps, whose number differs by shard


class BatchShards:
    """The shards of one process.

    Args:
        rank: number of this process.
        count: number of processes.

    Attributes:
        active: True inside :meth:`sharding`.
    """

    def __init__(self, rank: int, count: int):
        self.rank, self.count, self.active = rank, count, False

    def take(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cut this process's shard out of a batch, along the first axis of every tensor."""
        shard = {name: tensor.chunk(self.count)[self.rank] for name, tensor in batch.items()}
        if "mask" in batch:  # marks the real steps of short windows
            shard[WEIGHT] = self.count * shard["mask"].sum().double() / batch["mask"].sum()
        return shard

    @contextmanager
    def sharding(self) -> Iterator[None]:
        """Let sharded tasks draw shards inside this context; outside they draw whole batches."""
        self.active = True
        try:
            yield
        finally:
            self.active = False


class ShardedTask:
    """A task whose batches are shards while ``shards`` is active; everything else is the task's own.

    Args:
        task: the task.
        shards: the shards of this process.
    """

    def __init__(self, task: Any, shards: BatchShards):
        self._task, self._shards = task, shards

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def batch(self, step: int) -> dict[str, Tensor]:
        """Draw the batch of a step, or this process's shard of it."""
        batch: dict[str, Tensor] = self._task.batch(step)
        return self._shards.take(batch) if self._shards.active else batch

    def loss(self, net: Any, batch: dict[str, Tensor]) -> Tensor:
        """Compute the loss; the mean over the processes' shards is the loss of the whole batch."""
        value: Tensor = self._task.loss(net, batch)
        return value * batch[WEIGHT].to(value) if WEIGHT in batch else value
