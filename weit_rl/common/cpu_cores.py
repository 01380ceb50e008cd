"""How many cores this process may use, and how its threads wait for each other.

Two threads of GNU OpenMP that share a core with other work spend it waiting: each spins through 300,000 turns, by
default, before it sleeps. A spin of 10,000 turns costs nothing where the cores are free. libgomp reads the environment
when it is loaded, so it must be set before torch is imported; what this process starts has it, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SPIN, THREADS = "GOMP_SPINCOUNT", "OMP_NUM_THREADS"
SHORT_SPIN = "10000"
WAITING = (SPIN, "OMP_WAIT_POLICY", "KMP_BLOCKTIME")  # by which users say themselves how threads wait
GROUPS, MOUNTS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
SCHEDULER = "SLURM_CPUS_PER_TASK"
_chosen: set[str] = set()  # numbers of threads that were written into the environment here, not by a user


def spin_shortly() -> None:
    """Let OpenMP's threads, here and in what this process starts, soon sleep while they wait, unless a user chose."""
    if not any(name in os.environ for name in WAITING):
        os.environ[SPIN] = SHORT_SPIN


def share_cores(processes: int = 1) -> None:
    """Let no library use more threads than this process has cores for, unless a user chose; to be called before torch.

    Where all cores are usable, libraries know better: torch takes one thread for each core, not for each of its halves.

    Args:
        processes: that share the cores.
    """
    threads = threads_of(processes)
    if not users_threads() and threads < _affinity():
        choose_threads(threads)


def choose_threads(threads: int) -> None:
    """Write a number of threads into the environment, for libraries that are loaded and processes that are started."""
    os.environ[THREADS] = str(threads)
    _chosen.add(str(threads))


def users_threads() -> bool:
    """Return True if the user says how many threads there are, with ``OMP_NUM_THREADS``."""
    return os.environ.get(THREADS) not in (None, *_chosen)


def usable_cores() -> int:
    """Count the cores that this process may use: those of its affinity, control group and Slurm job; at least 1."""
    limits = [_affinity(), *_quotas(GROUPS, MOUNTS)]
    given = os.environ.get(SCHEDULER, "")
    limits += [int(given)] if given.isdecimal() else []
    return max(1, int(min(limits)))


def threads_of(processes: int = 1) -> int:
    """The threads of one of several processes that share this machine's usable cores."""
    return max(1, usable_cores() // processes)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):  # macOS lacks it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(groups: Path, mounts: Path) -> Iterator[float]:
    """Yield the cores that a container, or another control group, grants; a group's parents limit it, too."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "cpu", "cpu,cpuacct", "cpuacct,cpu"):
            inside = Path(path.lstrip("/"))
            for group in (inside, *inside.parents):
                yield from _quota(mounts / controllers / group)


def _quota(group: Path) -> Iterator[float]:
    """Read the cores of a group of version 2 ("150000 100000", "max 100000") or version 1 (-1: no limit)."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    except (OSError, ValueError):
        return
    if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
        yield int(quota) / int(period)
