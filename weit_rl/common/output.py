"""Printing that never stops a command, whatever happens to its output.

Standard output may be closed, full or missing (``pythonw``, some servers). It may lack characters, or be an object that
a notebook has put in its place. None of that is a reason to stop the work.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

FAILURES = (OSError, ValueError)  # what a stream raises if it cannot be written; ValueError if it is closed
NOT_FORWARDED = {"_stream", "rich_proxied_file"}  # the first would recurse, the second would bypass this class


class Output:
    """A text stream whose writes never raise an error.

    Args:
        stream: receives the text if it can; None discards the text.

    Attributes:
        error: the stream's first error, or None if all text was written.
    """

    def __init__(self, stream: Any):
        self.error: BaseException | None = None if stream is not None else OSError("closed")
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        if name in NOT_FORWARDED:
            raise AttributeError(name)
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:
        """Return the stream's encoding; UTF-8 if it names none."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write a text; characters outside the stream's encoding become escapes."""
        if self._stream is None:
            return len(text)
        with self._remember_failure():
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write out what the stream has buffered."""
        with self._remember_failure():
            getattr(self._stream, "flush", lambda: None)()

    def isatty(self) -> bool:
        """Return True if the stream is a terminal."""
        try:
            return bool(self._stream.isatty())
        except (*FAILURES, AttributeError):
            return False

    def fileno(self) -> int:
        """Return the stream's file descriptor.

        Raises:
            io.UnsupportedOperation: if it has none, as the standard library does.
        """
        if not hasattr(self._stream, "fileno"):
            raise io.UnsupportedOperation("fileno")
        return int(self._stream.fileno())

    def settle(self) -> None:
        """Flush the stream, and discard what it cannot write: Python would retry at exit and fail."""
        try:
            getattr(self._stream, "flush", lambda: None)()
        except FAILURES as error:
            self.error = self.error or error
            with contextlib.suppress(*FAILURES):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
                self.flush()

    @contextlib.contextmanager
    def _remember_failure(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            self.error = self.error or error


def stdout() -> Output:
    """Return the current standard output as an :class:`Output`."""
    return _wrap(sys.stdout)


def unproxied() -> Output:
    """Return the standard output behind rich's live display, which a second rich console needs."""
    return _wrap(getattr(sys.stdout, "rich_proxied_file", sys.stdout))


def say(*parts: object, end: str = "\n") -> None:
    """Print to standard output and flush."""
    print(*parts, end=end, file=cast(TextIO, stdout()), flush=True)


def complain(line: str) -> None:
    """Print a line to standard error."""
    print(line, file=cast(TextIO, _wrap(sys.stderr)), flush=True)


@contextlib.contextmanager
def guarded() -> Iterator[Output]:
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
