"""Runs of one network in several threads, one after another."""

from __future__ import annotations

from threading import RLock
from typing import Any

import torch


class Turn:
    """A lock for runs that put weights into a network and take them out again.

    The thread that has it may take it again, as a network that runs inside itself does. Copies and pickles have a lock
    of their own. A compiled graph holds no lock: it puts nothing into the network.

    Attributes:
        depth: number of runs at work, one inside the other.
    """

    def __init__(self) -> None:
        self._lock, self.depth = RLock(), 0

    def __enter__(self) -> None:
        if not torch.compiler.is_compiling():
            self._lock.acquire()
            self.depth += 1

    def __exit__(self, *_: Any) -> None:
        if not torch.compiler.is_compiling():
            self.depth -= 1
            self._lock.release()

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        return Turn, ()
