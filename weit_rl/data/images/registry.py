"""The registry of image sources, and the interface of a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry
from weit_rl.data.images.decode import ImageReader
from weit_rl.data.images.parts import ImagesInMemory, ImagesOnDemand


class SourceParts(NamedTuple):
    """The images that a source returns.

    Attributes:
        parts: ``"train"`` and, if the source has them, ``"held_out"`` and ``"test"``.
        classes: the names of the labels, in their order.
        licence: what is known of the images' licence.
        shifts: True if a shifted image keeps its label, so that training may shift images (default True).
    """

    parts: Mapping[str, ImagesInMemory | ImagesOnDemand]
    classes: Sequence[str]
    licence: str
    shifts: bool = True


class ImageSource(NamedTuple):
    """How one kind of source is recognised and read.

    Attributes:
        names: returns the names of its sets, and words for other inputs, for error messages.
        accepts: returns True if ``data`` is one of its sets, or a path or name of its kind.
        read: reads the set; raises UserError for damage. It must not load anything that can run code.
        any_path: True if it accepts every path; sources that accept some paths come before it (default False).
    """

    names: Callable[[], list[str]]
    accepts: Callable[[str], bool]
    read: Callable[[str, ImageReader], SourceParts]
    any_path: bool = False


SOURCES: Registry[ImageSource] = Registry("source of images", "weit_rl.data.images", "weit_rl.image_sources")


def missing(data: str, library: str, error: Any) -> UserError:
    """Return the error for a source whose library is not installed."""
    return UserError(f"data={data}: needs {library} ({error}); pip install {library}")
