"""How much a file may claim to hold, and what a process that reads one may use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FREE = 2**30  # bytes that any file may hold
RATIO = 1100  # the most that deflate can make of a byte, 1032, and a little
SECONDS, PER_SECOND = 60, 10_000_000  # of computing for any file, and how many bytes get one more


def most_bytes(path: Path) -> int:
    """The most that a file, or the files of a folder, can hold in memory without a lie, and this machine has room for.

    HDF5 and zip files say how large their arrays are; one of a few bytes may say terabytes.
    """
    return min(memory(), FREE + RATIO * size_of(path))


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder together."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def limit_process(path: Path) -> None:
    """Limit this process to the memory and time that reading a file may take; where the system knows no limits, not."""
    try:
        import resource
    except ImportError:  # Windows
        return
    most = most_bytes(path)
    _lower(resource.RLIMIT_AS, _used() + 3 * most)  # as read, and copied once or twice
    _lower(resource.RLIMIT_CPU, SECONDS + most // PER_SECOND)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(what: int, most: int) -> None:
    import resource

    _, hard = resource.getrlimit(what)
    limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with contextlib.suppress(ValueError, OSError):  # a system that knows the limit, and does not set it
        resource.setrlimit(what, (limit, limit))


def memory() -> int:
    """Bytes of memory of this machine."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return 64 * 2**30
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _used() -> int:
    """Bytes of addresses that this process has taken; where that is not told, what imports take at most."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 4 * 2**30
