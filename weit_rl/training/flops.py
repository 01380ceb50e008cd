"""Floating point operations of matrix products, counted by running them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Of shapes, as the counter gives them."""
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


ON_CPU = {  # torch's counter knows attention on a GPU alone
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class Whole:
    """In the place of what tells the counter in which module it is: its hooks do not bear ``autograd.grad``."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def counter() -> FlopCounterMode:
    """A context in which FLOPs are counted."""
    made = FlopCounterMode(display=False, custom_mapping=ON_CPU)
    made.mod_tracker = Whole()  # type: ignore[assignment]
    return made


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
        self._counter = counter()
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
    with torch.random.fork_rng(list(range(torch.cuda.device_count()))), counter() as counted:
        for step in range(steps):
            loss(step).backward()
    module.zero_grad(set_to_none=True)
    return counted.get_total_flops() / steps
