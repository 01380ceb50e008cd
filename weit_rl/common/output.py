"""Printing that never stops a command, whatever happens to its output.

Standard output may be closed, full or missing (``pythonw``, some servers). It may lack characters, or be an object that
a notebook has put in its place. None of that is a reason to stop the work.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO, cast

from weit_rl.common.output_stream import Output


def stdout() -> Output:
    """Return the current standard output as an :class:`Output`."""
    return _wrap(sys.stdout)


def stdout_behind_rich() -> Output:
    """Return the standard output behind rich's live display, which a second rich console needs."""
    return _wrap(getattr(sys.stdout, "rich_proxied_file", sys.stdout))


def print_line(*parts: object, end: str = "\n") -> None:
    """Print to standard output and flush."""
    print(*parts, end=end, file=cast(TextIO, stdout()), flush=True)


def print_error(line: str) -> None:
    """Print a line to standard error."""
    print(line, file=cast(TextIO, _wrap(sys.stderr)), flush=True)


@contextlib.contextmanager
def guard_output() -> Iterator[Output]:
    """Replace standard output and error by streams that never raise, for libraries too; yield standard output."""
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    out, err = (_wrap(stream) for stream in before)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    standard, warnings.formatwarning = warnings.formatwarning, _format_warning
    try:
        yield out
    finally:
        warnings.formatwarning = standard
        out.settle()
        err.settle()
        sys.stdout, sys.stderr = before


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Format a warning as one line: the user of a command needs what to do, not the place in the source."""
    if issubclass(category, UserWarning | RuntimeWarning):
        return f"warning: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"  # developers need the place


def _open_closed_descriptors() -> None:
    """Open the null device for each closed standard stream.

    Otherwise the next opened file would get that descriptor, and C libraries would print into the file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null_device = os.open(os.devnull, os.O_RDWR)
            os.dup2(null_device, number)
            if null_device != number:
                os.close(null_device)
            os.set_inheritable(number, True)


def _wrap(stream: Any) -> Output:
    return stream if isinstance(stream, Output) else Output(stream)
