"""Timing several jobs in turn within one run, and the table that compares them."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping

import torch

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time, "thread": time.thread_time}


def interleaved(
    jobs: Mapping[str, Callable[[], object]], rounds: int, warm: int = 2, clock: str = "wall"
) -> dict[str, list[float]]:
    """Seconds of every job in each round; in turn, so that a change of the machine's speed meets all of them.

    Args:
        jobs: by name.
        rounds: that count.
        warm: rounds before them.
        clock: ``"wall"``, or what other work does not stretch: ``"processor"`` for a single thread, and ``"thread"``.
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
    """How many times as long the first takes: the median over rounds, in each of which both met the same machine."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def heading(title: str, command: str, threads: int) -> str:
    """The first lines of a table: what, by which command, on what."""
    machine = f"{platform.machine()}, torch {torch.__version__}, {threads} thread{'s' * (threads > 1)}"
    return f"# {title}\n\n    {command}\n\n{machine}\n"
