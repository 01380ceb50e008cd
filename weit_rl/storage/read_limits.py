"""Limits on the memory and time that reading a file from a stranger may take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FREE = 2**30  # bytes of memory that any file may take
RATIO = 1100  # bytes of memory for each byte of a file: deflate's highest ratio, 1032, and a margin
SECONDS, PER_SECOND = 60, 10_000_000  # CPU seconds for any file, and bytes of memory that add one second


def most_bytes(path: Path) -> int:
    """Return the most bytes that a file, or the files of a folder, can honestly need, up to this machine's memory.

    HDF5 and zip files state the sizes of their arrays; a file of a few bytes may claim terabytes.
    """
    return min(machine_memory(), FREE + RATIO * size_of(path))


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def limit_process(path: Path) -> None:
    """Limit this process to the memory and CPU time that reading a file may take; do nothing on Windows."""
    try:
        import resource
    except ImportError:  # Windows
        return
    most = most_bytes(path)
    _lower(resource.RLIMIT_AS, _used() + 3 * most)  # the data, and one or two copies
    _lower(resource.RLIMIT_CPU, SECONDS + most // PER_SECOND)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(what: int, most: int) -> None:
    import resource

    _, hard = resource.getrlimit(what)
    limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with contextlib.suppress(ValueError, OSError):  # some systems define the limit but do not set it
        resource.setrlimit(what, (limit, limit))


def machine_memory() -> int:
    """Return the bytes of this machine's memory; 64 GiB if the system does not report them."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return 64 * 2**30
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _used() -> int:
    """Return the bytes of this process's address space; 4 GiB, more than imports take, if unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 4 * 2**30
