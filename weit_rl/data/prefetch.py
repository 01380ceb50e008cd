"""What takes a processor long, such as reading and augmenting images, done ahead of time by processes of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from weit_rl.common.errors import UserError

STEPS = 10**9  # more than any training has


def in_turn(make: Callable[[int], Any], numbers: Sequence[int], workers: int) -> Iterator[Any]:
    """``make(number)`` of all numbers in their order, made ahead by worker processes.

    Args:
        make: gives tensors, arrays (which processes turn into tensors), or both in tuples and dictionaries.
        numbers: for which.
        workers: how many processes; 0, and any number elsewhere than on Linux, makes them here, one after the other.

    Raises:
        UserError: that ``make`` raises.
    """
    if not workers or sys.platform != "linux":  # what is not forked would have to be pickled
        yield from map(make, numbers)
        return
    from torch.utils.data import DataLoader

    how = {"num_workers": workers, "worker_init_fn": _unstopped, "multiprocessing_context": "fork"}
    for made in DataLoader(_Made(make), batch_size=None, sampler=numbers, **how):  # type: ignore[arg-type]
        if isinstance(made, UserError):
            raise made
        yield made


class Ahead:
    """``make(step)``; where steps are asked for in turn, the next ones are made meanwhile, see :func:`in_turn`."""

    def __init__(self, make: Callable[[int], Any], workers: int):
        self._make, self._workers, self._next = make, workers, 0
        self._coming: Iterator[Any] = iter(())
        self._last: Any = None

    def __call__(self, step: int) -> Any:
        """The same for the same step, whatever was asked for before."""
        if not self._workers:
            return self._make(step)
        if self._last is not None and step == self._next - 1:
            return self._last
        if self._last is None or step != self._next:
            self._coming = in_turn(self._make, range(step, STEPS), self._workers)
        self._last, self._next = next(self._coming), step + 1
        return self._last


class _Made:
    """As a data set, whose errors are what it gives: raised, they would come wrapped in the worker's traceback."""

    def __init__(self, make: Callable[[int], Any]):
        self._make = make

    def __getitem__(self, number: int) -> Any:
        try:
            return self._make(number)
        except UserError as error:
            return error


def _unstopped(_: int) -> None:
    """A stop from the keyboard goes to all processes; the one that waits for the others saves, and then ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
