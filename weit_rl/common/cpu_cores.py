"""The cores that this process may use, and the way in which its OpenMP threads wait.

When GNU OpenMP's threads share a core with other work, they lose that core while they wait: by default each thread
spins 300,000 turns before it sleeps. On free cores 10,000 turns cost nothing. libgomp reads the environment when it is
loaded, so the variables must be set before torch is imported. Child processes inherit them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SPIN, THREADS = "GOMP_SPINCOUNT", "OMP_NUM_THREADS"
SHORT_SPIN = "10000"
WAITING = (SPIN, "OMP_WAIT_POLICY", "KMP_BLOCKTIME")  # a user who sets one of these has chosen how threads wait
GROUPS, MOUNTS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
SCHEDULER = "SLURM_CPUS_PER_TASK"
threads_written: set[str] = set()  # values of OMP_NUM_THREADS that this module wrote, not a user


def shorten_spinning() -> None:
    """Make OpenMP's waiting threads sleep soon, in this process and its children, unless the user chose otherwise."""
    if not any(name in os.environ for name in WAITING):
        os.environ[SPIN] = SHORT_SPIN


def share_cores(processes: int = 1) -> None:
    """Limit libraries to the threads this process has cores for, unless the user chose; call it before importing torch.

    Nothing is set if all cores are usable: torch's own default, one thread per physical core, is better then.

    Args:
        processes: number of processes that share the cores (default 1).
    """
    threads = threads_per_process(processes)
    if not user_chose_threads() and threads < _affinity():
        choose_threads(threads)


def choose_threads(threads: int) -> None:
    """Write a number of threads into the environment, for libraries loaded later and for child processes."""
    os.environ[THREADS] = str(threads)
    threads_written.add(str(threads))


def user_chose_threads() -> bool:
    """Return True if the user has set the number of threads with ``OMP_NUM_THREADS``."""
    return os.environ.get(THREADS) not in (None, *threads_written)


def usable_cores() -> int:
    """Count the cores this process may use, at least 1, by its affinity, control group and Slurm job."""
    limits = [_affinity(), *_quotas(GROUPS, MOUNTS)]
    given = os.environ.get(SCHEDULER, "")
    limits += [int(given)] if given.isdecimal() else []
    return max(1, int(min(limits)))


def threads_per_process(processes: int = 1) -> int:
    """Return the number of threads for each of ``processes`` processes that share the usable cores, at least 1."""
    return max(1, usable_cores() // processes)


def _affinity() -> int:
    """Count the cores on which the scheduler may run this process."""
    if hasattr(os, "sched_getaffinity"):  # macOS lacks it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(groups: Path, mounts: Path) -> Iterator[float]:
    """Yield the cores that each control group of this process grants; parent groups limit it too."""
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
    """Yield the cores of a control group: version 2 ("150000 100000", "max 100000") or version 1 (-1 is unlimited)."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    except (OSError, ValueError):
        return
    if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
        yield int(quota) / int(period)
