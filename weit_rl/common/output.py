"""Print text so that the work goes on, whatever becomes of its output.

Standard output may be closed or full, may be missing (``pythonw``, some servers), may lack letters, or may be an object
that a notebook put in its place. None of it says anything about the work.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

FAILURES = (OSError, ValueError)  # of a stream that takes no more; ValueError where it was closed
NEVER_ASKED = {"_stream", "rich_proxied_file"}  # of the stream: the first is set last, the second leads past it


class Output:
    """A text stream that fails at nothing that is written to it.

    Args:
        stream: takes what is written, if it can; None takes nothing.

    Attributes:
        error: the first error of the stream; None as long as all could be written.
    """

    def __init__(self, stream: Any):
        self.error: BaseException | None = None if stream is not None else OSError("closed")
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        if name in NEVER_ASKED:
            raise AttributeError(name)
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:
        """Name the stream's encoding; UTF-8 if it names none."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write a text; letters that the stream lacks become escapes."""
        if self._stream is None:
            return len(text)
        with self._noted():
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
        """Hand on what the stream holds back."""
        with self._noted():
            getattr(self._stream, "flush", lambda: None)()

    def isatty(self) -> bool:
        """Return True if a terminal shows it."""
        try:
            return bool(self._stream.isatty())
        except (*FAILURES, AttributeError):
            return False

    def fileno(self) -> int:
        """The stream's descriptor; io.UnsupportedOperation, as in the standard library, where it has none."""
        if not hasattr(self._stream, "fileno"):
            raise io.UnsupportedOperation("fileno")
        return int(self._stream.fileno())

    def settle(self) -> None:
        """Flush the stream, and let go of what it cannot write: Python would try again at the exit, and fail."""
        try:
            getattr(self._stream, "flush", lambda: None)()
        except FAILURES as error:
            self.error = self.error or error
            with contextlib.suppress(*FAILURES):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
                self.flush()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            self.error = self.error or error


def stdout() -> Output:
    """Standard output as it is now."""
    return _output(sys.stdout)


def unproxied() -> Output:
    """Standard output behind the stand-in that a live bar of rich puts in its place, for another console of rich."""
    return _output(getattr(sys.stdout, "rich_proxied_file", sys.stdout))


def say(*parts: object, end: str = "\n") -> None:
    """Print on standard output, at once."""
    print(*parts, end=end, file=cast(TextIO, stdout()), flush=True)


def complain(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=cast(TextIO, _output(sys.stderr)), flush=True)


@contextlib.contextmanager
def guarded() -> Iterator[Output]:
    """Inside, whoever prints, libraries too, meets streams that fail at nothing; gives standard output."""
    _hold_descriptors()
    before = sys.stdout, sys.stderr
    out, err = (_output(stream) for stream in before)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    standard, warnings.formatwarning = warnings.formatwarning, _warning
    try:
        yield out
    finally:
        warnings.formatwarning = standard
        out.settle()
        err.settle()
        sys.stdout, sys.stderr = before


def _warning(text: Warning | str, kind: type[Warning], file: str, number: int, line: str | None = None) -> str:
    """A warning as a line: whoever runs a command looks for what to do, not for the place in the source."""
    if issubclass(kind, UserWarning | RuntimeWarning):
        return f"warning: {text}\n"
    return f"{file}:{number}: {kind.__name__}: {text}\n"  # for developers


def _hold_descriptors() -> None:
    """Put nothing in the place of a closed standard stream: the next file that is opened would get its number.

    What a library in C prints would then be written into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, number)
            if nothing != number:
                os.close(nothing)
            os.set_inheritable(number, True)


def _output(stream: Any) -> Output:
    return stream if isinstance(stream, Output) else Output(stream)
