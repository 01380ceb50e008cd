"""The registry of sources of images, and what a file that adds one needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry
from weit_rl.data.images.decode import Reading
from weit_rl.data.images.parts import Part, Unread


class Read(NamedTuple):
    """What a source gives.

    Attributes:
        parts: ``"train"`` and, where it has them, ``"held_out"`` and ``"test"``.
        classes: the names of the labels, in their order.
        licence: what is known of the images' licence.
        shifts: whether an image that is shifted shows the same, which training makes use of (default True).
    """

    parts: Mapping[str, Part | Unread]
    classes: Sequence[str]
    licence: str
    shifts: bool = True


class Source(NamedTuple):
    """How one kind of source is recognised and read.

    Attributes:
        names: of the sets it has, and words for what else it reads, for error messages.
        accepts: whether ``data`` is one of its sets, or a path or name of its kind.
        read: the set. Raises UserError for what is wrong with it. It must not load what can run code.
        any_path: whether it takes every path, so that any other kind that takes one comes before it (default False).
    """

    names: Callable[[], list[str]]
    accepts: Callable[[str], bool]
    read: Callable[[str, Reading], Read]
    any_path: bool = False


SOURCES: Registry[Source] = Registry("source of images", "weit_rl.data.images", "weit_rl.image_sources")


def missing(data: str, library: str, error: Any) -> UserError:
    """The error for a source whose library is not installed."""
    return UserError(f"data={data}: needs {library} ({error}); pip install {library}")
