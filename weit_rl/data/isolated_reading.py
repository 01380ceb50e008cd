"""Reading of files that need a C library, in a separate process, so that a hostile file crashes only that process.

The process has limits of memory and time. It returns plain numbers through a pipe, so the parent neither parses the
file nor loads anything but arrays.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.data.episode import Episode
from weit_rl.storage.read_limits import limit_process, most_bytes

MOST_HEADER = 256 * 2**20  # bytes of the header before the arrays
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from weit_rl.data.isolated_reading import main; main()"
)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # more threads only reserve memory


def read_isolated(name: str, path: Path) -> tuple[list[Episode], dict[str, Any]]:
    """Return what ``FORMATS.get(name).read(path)`` returns, read by another process.

    Raises:
        UserError: as that call does, or if the process crashes or exceeds its limits of memory or time.
    """
    words = [sys.executable, "-c", START, json.dumps(sys.path), name, str(path)]
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ | ONE_THREAD, **quiet) as process:
        assert process.stdout is not None
        try:
            return _received(cast(BufferedReader, process.stdout), most_bytes(path))
        except (ValueError, TypeError, KeyError, MemoryError, RecursionError) as error:
            raise _crashed(path, _ended(process), error) from error
        except BaseException:
            process.kill()
            raise


def _received(pipe: BufferedReader, most: int) -> tuple[list[Episode], dict[str, Any]]:
    header = json.loads(pipe.readline(MOST_HEADER))
    if "error" in header:
        raise UserError(str(header["error"]))
    kinds = [(np.dtype(dtype), tuple(map(int, shape))) for dtype, shape in header["arrays"]]
    each = 4 if header.get("states") else 3  # arrays per episode
    if any(dtype.kind not in "fiub" for dtype, _ in kinds) or len(kinds) % each:
        raise ValueError("no arrays of numbers")
    if sum(dtype.itemsize * math.prod(shape) for dtype, shape in kinds) > most:
        raise ValueError("more than the file can hold")
    arrays = [_array(pipe, dtype, shape) for dtype, shape in kinds]
    return [Episode(*arrays[i : i + each]) for i in range(0, len(arrays), each)], dict(header["info"])


def _array(pipe: BufferedReader, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(shape, dtype)
    if array.nbytes and pipe.readinto(array.data.cast("B")) != array.nbytes:
        raise ValueError("ends early")
    return array


def _ended(process: subprocess.Popen) -> int:
    """Return the exit code of the process: wait for it briefly after closing its pipe, then kill it."""
    assert process.stdout is not None
    process.stdout.close()
    try:
        return process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _crashed(path: Path, code: int, error: Exception) -> UserError:
    why = f"ended by {signal.Signals(-code).name}" if code < 0 else str(error)
    return UserError(
        f"data {path}: reading it failed in a separate process ({why}); it is damaged or malicious: "
        "record or download it again"
    )


def main() -> None:
    """Read a file in the separate process, and write a line of JSON and the arrays to standard output."""
    from weit_rl.data.formats import FORMATS

    _, _, name, path = sys.argv
    with _alone_on_stdout() as pipe:
        try:
            one = FORMATS.get(name)
            limit_process(Path(path))
            read, info = one.read(Path(path))
            episodes = [Episode(*episode) for episode in read]
        except Exception as error:  # an unexpected error must not be lost with the process
            message = str(error) if isinstance(error, UserError) else f"data {path}: {type(error).__name__}: {error}"
            pipe.write(json.dumps({"error": " ".join(message.split())}).encode() + b"\n")
            return
        states = all(episode.states is not None for episode in episodes)
        arrays = [np.ascontiguousarray(array) for episode in episodes for array in episode[: 4 if states else 3]]
        kinds = [(array.dtype.str, array.shape) for array in arrays]
        pipe.write(json.dumps({"info": info, "arrays": kinds, "states": states}, default=str).encode() + b"\n")
        for array in arrays:
            pipe.write(array.data.cast("B") if array.nbytes else b"")


@contextlib.contextmanager
def _alone_on_stdout() -> Iterator[BinaryIO]:
    """Yield a file on standard output and discard everything else that is printed."""
    with os.fdopen(os.dup(1), "wb") as pipe:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        yield pipe
