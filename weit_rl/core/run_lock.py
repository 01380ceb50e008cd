"""A lock that makes the runs of one network in several threads take turns."""

from __future__ import annotations

from threading import RLock
from typing import Any

import torch


class RunLock:
    """A lock held while a network holds composed weights.

    The thread that holds the lock may take it again, as a network does that runs inside itself. Copies and pickles get
    a lock of their own. Compiled graphs take no lock, because they put no weights into the network.

    Attributes:
        depth: number of nested runs at work.
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

    def __reduce__(self) -> tuple[type[RunLock], tuple[()]]:
        return RunLock, ()
