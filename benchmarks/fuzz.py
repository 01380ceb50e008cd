"""Spoiled files for everything that reads files: what comes out is a result or one line of our own error, in bounds.

    OMP_NUM_THREADS=1 python benchmarks/fuzz.py --count 10000 > benchmarks/results/fuzz.md

A reader in C (HDF5) works in a process of its own here as it does for users; how often that process had to die is
counted. Ends with 1 if anything else than an answer or a ``UserError`` came out, or took more than its time or memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import samples
from mutations import spoil, warp

from weit_rl.common.errors import UserError
from weit_rl.comparison.tables import Table
from weit_rl.storage.read_limits import limit_process

SECONDS, BYTES = 60, 4 * 2**30  # that a reader may take, for files of a few kilobytes


class Reader(NamedTuple):
    """What reads a folder of files.

    Attributes:
        make: writes good ones into an empty folder.
        read: reads them.
        native: whether it belongs into a process of its own.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], object]
    native: bool = False


READERS = {name: Reader(*found) for name, found in samples.READERS.items()}


def fuzz(reader: Reader, count: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Read so many spoiled copies; counts by what came out, and the last traceback of what should not have."""
    found: Counter[str] = Counter()
    reader.make(folder)
    good = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    reader.read(folder)  # the good ones are
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        path = rng.choice(sorted(good))
        path.write_bytes(spoiled(path, good[path], rng))
        found[outcome(reader, folder, f"{path.name}, seed {seed}, number {number}")] += 1
        path.write_bytes(good[path])
    return found


def spoiled(path: Path, data: bytes, rng: random.Random) -> bytes:
    """By its bytes, or by the values in it, with checksums that are right again."""
    way = samples.INSIDE.get(path.suffix)
    return way(data, rng, warp, spoil) if way and rng.random() < 0.6 else spoil(data, rng)


def outcome(reader: Reader, folder: Path, where: str) -> str:
    """``read``, ``refused``, ``died`` (a process of its own) or a traceback."""
    if not reader.native:
        return _told(reader, folder, where)
    receive, send = os.pipe()
    if not (pid := os.fork()):
        limit_process(folder)
        os.write(send, _told(reader, folder, where).encode()[:60_000])
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return told or "died"


def _told(reader: Reader, folder: Path, where: str) -> str:
    signal.alarm(SECONDS)
    try:
        reader.read(folder)
        return "read"
    except UserError as error:
        return "refused" if "\n" not in str(error) else f"{where}: an error of several lines: {error}"
    except BaseException:
        return f"{where}:\n{traceback.format_exc()}"
    finally:
        signal.alarm(0)


def measured(name: str, count: int, folder: Path) -> list[object]:
    """A row of the table, made in a process of its own."""
    place = folder / "row.json"
    if not (pid := os.fork()):
        _lower(BYTES)
        began = time.monotonic()
        found = fuzz(READERS[name], count, folder / "files")
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        place.write_text(json.dumps([found, peak, time.monotonic() - began]))
        os._exit(0)
    os.waitpid(pid, 0)
    if not place.exists():
        return [name, count, "", "", "", "the reader ended the process", "", ""]
    found, peak, seconds = json.loads(place.read_text())
    others = {told: times for told, times in found.items() if told not in ("read", "refused", "died")}
    for told, times in list(others.items())[:5]:
        print(f"{name}, {times} times: {told}", file=sys.stderr)
    counts = [found.get(told, 0) for told in ("read", "refused", "died")]
    return [name, count, *counts, sum(others.values()), f"{1000 * seconds / count:.1f}", f"{peak / 1000:.0f}"]


def _lower(most: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + most, used + most))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", choices=READERS, default=list(READERS))
    arguments = parser.parse_args()
    rows = []
    for name in arguments.only:
        with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
            (Path(folder) / "files").mkdir()
            rows.append(measured(name, arguments.count, Path(folder)))
            print(rows[-1], file=sys.stderr, flush=True)
    header = ["reader", "files", "read", "refused", "process died", "anything else", "ms a file", "MB at most"]
    note = f"`python benchmarks/fuzz.py {shlex.join(sys.argv[1:])}`"
    print(Table("Spoiled files", header, [list(map(str, row)) for row in rows], note).markdown())
    sys.exit(any(row[5] for row in rows))


if __name__ == "__main__":
    main()
