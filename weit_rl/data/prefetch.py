"""Slow work on the CPU, such as reading and augmenting images, done ahead of time by worker processes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from weit_rl.common.errors import UserError

STEPS = 10**9  # more than any training has


def prefetched(make: Callable[[int], Any], numbers: Sequence[int], workers: int) -> Iterator[Any]:
    """Yield ``make(number)`` for all numbers in their order, computed ahead by worker processes.

    Args:
        make: returns tensors, arrays (which processes turn into tensors), or both in tuples and dictionaries.
        numbers: the arguments of ``make``.
        workers: number of processes; with 0, and on any system but Linux, this process makes them one after the other.

    Raises:
        UserError: if ``make`` raises it.
    """
    if not workers or sys.platform != "linux":  # without fork, ``make`` would have to be pickled
        yield from map(make, numbers)
        return
    from torch.utils.data import DataLoader

    how = {"num_workers": workers, "worker_init_fn": _unstopped, "multiprocessing_context": "fork"}
    for made in DataLoader(_Made(make), batch_size=None, sampler=numbers, **how):  # type: ignore[arg-type]
        if isinstance(made, UserError):
            raise made
        yield made


class Prefetcher:
    """A function ``make(step)`` that is computed ahead by :func:`prefetched` while steps are asked for in turn."""

    def __init__(self, make: Callable[[int], Any], workers: int):
        self._make, self._workers, self._next = make, workers, 0
        self._coming: Iterator[Any] = iter(())
        self._last: Any = None

    def __call__(self, step: int) -> Any:
        """Return ``make(step)``, the same for the same step in any order of calls."""
        if not self._workers:
            return self._make(step)
        if self._last is not None and step == self._next - 1:
            return self._last
        if self._last is None or step != self._next:
            self._coming = prefetched(self._make, range(step, STEPS), self._workers)
        self._last, self._next = next(self._coming), step + 1
        return self._last


class _Made:
    """A data set that returns errors as items; raised, they would come wrapped in the worker's traceback."""

    def __init__(self, make: Callable[[int], Any]):
        self._make = make

    def __getitem__(self, number: int) -> Any:
        try:
            return self._make(number)
        except UserError as error:
            return error


def _unstopped(_: int) -> None:
    """Ignore SIGINT in a worker: the main process gets it too, saves, and then ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
