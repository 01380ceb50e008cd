"""Count the floating point operations of matrix products by running them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Count the FLOPs of attention from the shapes of its inputs."""
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


ON_CPU = {  # torch's counter knows attention on GPUs only
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class _NoModuleTracker:
    """A substitute for the counter's module tracker, whose hooks fail under ``autograd.grad``."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def flop_counter() -> FlopCounterMode:
    """Make a context that counts FLOPs."""
    made = FlopCounterMode(display=False, custom_mapping=ON_CPU)
    made.mod_tracker = _NoModuleTracker()  # type: ignore[assignment]
    return made


class Flops:
    """A counter of the FLOPs of matrix products that can pause.

    Attributes:
        total: FLOPs counted until now.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._counter: FlopCounterMode | None = None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count FLOPs inside this context."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count no FLOPs inside this context, even within :meth:`counted`."""
        running = self._counter is not None
        if running:
            self._end()
        try:
            yield
        finally:
            if running:
                self._begin()

    def _begin(self) -> None:
        self._counter = flop_counter()
        self._counter.__enter__()

    def _end(self) -> None:
        assert self._counter is not None
        self._counter.__exit__(None, None, None)
        self.total += self._counter.get_total_flops()
        self._counter = None


def step_flops(module: nn.Module, loss: Callable[[int], Tensor], steps: int = 1) -> float:
    """Count the FLOPs of a step's matrix products, forward and backward; random states stay as they were.

    Args:
        module: the module whose parameters the loss uses; afterwards it has no gradients.
        loss: computes the loss of a step.
        steps: number of first steps to average over; more than 1 if steps differ (default 1).
    """
    with torch.random.fork_rng(list(range(torch.cuda.device_count()))), flop_counter() as counted:
        for step in range(steps):
            loss(step).backward()
    module.zero_grad(set_to_none=True)
    return counted.get_total_flops() / steps
