"""Evaluation mode of a network for the length of a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(net: nn.Module) -> Iterator[None]:
    """Put the network into evaluation mode inside the context, and restore its mode afterwards."""
    was = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(was)
