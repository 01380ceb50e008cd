"""Read spoiled files with every reader: each must give a result or one line of our own error, within limits.

    OMP_NUM_THREADS=1 python tests/stress/fuzz.py --count 10000 > tests/stress/fuzz.md

A reader in C (HDF5) works in a process of its own, as it does for users; the table counts how often that process died.
The exit code is 1 if anything but an answer or a ``UserError`` came out, or if a reader exceeded its time or memory.
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
from value_mutations import INSIDE

from weit_rl.common.errors import UserError
from weit_rl.comparison.tables import Table
from weit_rl.storage.read_limits import limit_process

SECONDS, BYTES = 60, 4 * 2**30  # limits of a reader, for files of a few kilobytes

EXPECTED = ("read", "refused", "died")


class Reader(NamedTuple):
    """A reader of a folder of files.

    Attributes:
        make: writes good files into an empty folder.
        read: reads them.
        native: whether the reader needs a process of its own.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], object]
    native: bool = False


READERS = {name: Reader(*found) for name, found in samples.READERS.items()}


def fuzz(reader: Reader, count: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Read spoiled copies of a reader's good files; count the outcomes.

    Args:
        reader: what is tested.
        count: number of spoiled copies.
        folder: an empty folder.
        seed: draws the copies.

    Returns:
        How often each outcome came: ``read``, ``refused``, ``died``, or a traceback, which is a bug.
    """
    found: Counter[str] = Counter()
    reader.make(folder)
    good = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    reader.read(folder)  # good files can be read
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        path = rng.choice(sorted(good))
        path.write_bytes(spoiled(path, good[path], rng))
        found[outcome(reader, folder, f"{path.name}, seed {seed}, number {number}")] += 1
        path.write_bytes(good[path])
    return found


def spoiled(path: Path, data: bytes, rng: random.Random) -> bytes:
    """Spoil a file's bytes, or the values in it with matching checksums."""
    way = INSIDE.get(path.suffix)
    return way(data, rng, warp, spoil) if way and rng.random() < 0.6 else spoil(data, rng)


def outcome(reader: Reader, folder: Path, where: str) -> str:
    """Read once; return ``read``, ``refused``, ``died`` (a process of its own) or a traceback."""
    if not reader.native:
        return _attempt(reader, folder, where)
    receive, send = os.pipe()
    if not (pid := os.fork()):
        limit_process(folder)
        os.write(send, _attempt(reader, folder, where).encode()[:60_000])
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        result = pipe.read()
    os.waitpid(pid, 0)
    return result or "died"


def _attempt(reader: Reader, folder: Path, where: str) -> str:
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
    """Test one reader in a process of its own; return its row of the table."""
    place = folder / "row.json"
    if not (pid := os.fork()):
        _limit_memory(BYTES)
        began = time.monotonic()
        found = fuzz(READERS[name], count, folder / "files")
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        place.write_text(json.dumps([found, peak, time.monotonic() - began]))
        os._exit(0)
    os.waitpid(pid, 0)
    if not place.exists():
        return [name, count, "", "", "", "the reader ended the process", "", ""]
    found, peak, seconds = json.loads(place.read_text())
    bugs = {result: times for result, times in found.items() if result not in EXPECTED}
    for result, times in list(bugs.items())[:5]:
        print(f"{name}, {times} times: {result}", file=sys.stderr)
    counts = [found.get(result, 0) for result in EXPECTED]
    return [name, count, *counts, sum(bugs.values()), f"{1000 * seconds / count:.1f}", f"{peak / 1000:.0f}"]


def _limit_memory(most: int) -> None:
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
    note = f"`python tests/stress/fuzz.py {shlex.join(sys.argv[1:])}`"
    print(Table("Spoiled files", header, [list(map(str, row)) for row in rows], note).markdown())
    sys.exit(any(row[5] for row in rows))


if __name__ == "__main__":
    main()
