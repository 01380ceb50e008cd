"""Times of several jobs, measured in turn within one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time, "thread": time.thread_time}


def interleaved(
    jobs: Mapping[str, Callable[[], object]], rounds: int, warm: int = 2, clock: str = "wall"
) -> dict[str, list[float]]:
    """Measure the seconds of every job in each round.

    The jobs take turns, so that a change of the machine's speed meets all of them.

    Args:
        jobs: what is timed, by name.
        rounds: rounds that count.
        warm: rounds before them that do not count.
        clock: ``"wall"``; or ``"processor"`` for one thread or ``"thread"``, which other work hardly disturbs.
    """
    now = CLOCKS[clock]
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + warm):
        for name, job in jobs.items():
            begin = now()
            job()
            if number >= warm:
                times[name].append(now() - begin)
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    """Return how many times as long the first job takes: the median of the ratios within each round."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))
