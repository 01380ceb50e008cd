"""A text stream that never raises an error, for standard output that may be closed, full, missing or strange."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator
from typing import Any

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
