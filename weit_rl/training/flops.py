"""Floating point operations, counted by running steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def flops_of(call: Callable[[], Any]) -> float:
    """FLOPs of the matrix products of a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


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
