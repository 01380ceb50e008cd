"""Floating point operations of matrix products; on a CPU torch's counter leaves fused attention out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Flops:
    """The FLOPs of matrix products, ``total`` of those that were counted until now."""

    def __init__(self) -> None:
        self.total = 0.0
        self._counter: FlopCounterMode | None = None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Inside they are counted."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside they are not counted, whatever is outside."""
        running = self._counter is not None
        if running:
            self._end()
        try:
            yield
        finally:
            if running:
                self._begin()

    def _begin(self) -> None:
        self._counter = FlopCounterMode(display=False)
        self._counter.__enter__()

    def _end(self) -> None:
        assert self._counter is not None
        self._counter.__exit__(None, None, None)
        self.total += self._counter.get_total_flops()
        self._counter = None


def step_flops(module: nn.Module, loss: Callable[[int], Tensor], steps: int = 1) -> float:
    """FLOPs of the matrix products of a step, forward and backward; random numbers stay as they were.

    Args:
        module: whose parameters the loss reaches; it is left without gradients.
        loss: the loss of a step.
        steps: of how many, from 0 on, the mean is taken (more than 1 where steps differ).
    """
    with torch.random.fork_rng(list(range(torch.cuda.device_count()))), FlopCounterMode(display=False) as counter:
        for step in range(steps):
            loss(step).backward()
    module.zero_grad(set_to_none=True)
    return counter.get_total_flops() / steps
