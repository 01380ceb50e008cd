"""Images of any kind as bytes of one shape; sizes are known before anything is allocated."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from weit_rl.errors import UserError

MOST_PIXELS = 64_000_000  # of a single image
MOST_BYTES = 8 * 2**30  # of a set in memory
GREY = ("1", "L", "LA", "I", "I;16", "F")  # PIL's modes of one channel
MODES = {1: "L", 3: "RGB"}
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # PIL knows more: for EPS it runs another program


class Item(NamedTuple):
    """An image that was not read yet: its name for error messages, its label, and what opens it."""

    where: str
    label: int
    open: Callable[[], Image.Image]


@dataclass(frozen=True)
class Part:
    """Labelled images.

    Attributes:
        pixels: ``(n, channels, height, width)`` uint8.
        labels: ``(n,)`` int64.
    """

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, chosen: np.ndarray) -> Part:
        """Those of these indices, or of this mask."""
        return Part(self.pixels[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Reading:
    """How a set is read; see :func:`weit_rl.data.images.load_images`."""

    image_size: int | None = None
    channels: int | None = None
    skip_corrupt: bool = False
    root: Path = Path()
    download: bool = False

    def __post_init__(self) -> None:
        if self.channels not in (None, *MODES):
            raise UserError(f"channels={self.channels}: must be 1 (grey) or 3 (colour)")
        if self.image_size is not None and not 1 <= self.image_size <= 4096:
            raise UserError(f"image_size={self.image_size}: must be from 1 to 4096 pixels")

    def array(self, image: Image.Image) -> np.ndarray:
        """``(channels, height, width)`` uint8."""
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS}")
        channels = self.channels or (1 if image.mode in GREY else 3)
        image = image.convert(MODES[channels])
        if self.image_size is not None and image.size != (self.image_size, self.image_size):
            image = ImageOps.fit(image, (self.image_size, self.image_size), Image.Resampling.BICUBIC)
        return np.asarray(image).reshape(image.height, image.width, channels).transpose(2, 0, 1)

    def part(self, items: Sequence[Item]) -> Part:
        """All images of a part.

        Raises:
            UserError: naming an image that cannot be read or has another shape than the first; if they are too many.
        """
        pixels, labels, skipped = np.empty((0, 0, 0, 0), np.uint8), list[int](), list[str]()
        for item in items:
            try:
                array = self.array(item.open())
            except Exception as error:  # whatever PIL and zipfile raise for a file that is damaged
                skipped.append(_corrupt(item.where, error, self.skip_corrupt))
                continue
            if not labels:
                pixels = _room(len(items), array.shape, item.where)
            _check_shape(array.shape, pixels.shape[1:], item.where)
            pixels[len(labels)] = array
            labels.append(item.label)
        if skipped:
            warnings.warn(f"{len(skipped)} corrupt images left out, such as {skipped[0]}", stacklevel=2)
        return Part(pixels[: len(labels)], np.array(labels, np.int64))


def _corrupt(where: str, error: Exception, skip: bool) -> str:
    if not skip:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"image {where}: cannot be read ({reason}); replace it, or leave such out with skip_corrupt=true"
        )
    return where


def _room(count: int, shape: tuple[int, ...], where: str) -> np.ndarray:
    if count * np.prod(shape, dtype=float) > MOST_BYTES:
        size = count * np.prod(shape, dtype=float) / 2**30
        raise UserError(
            f"{count} images of {'x'.join(map(str, shape))} (such as {where}) take {size:.0f} GiB, and a set is held "
            f"in memory, {MOST_BYTES / 2**30:.0f} GiB at most; give a smaller image_size"
        )
    return np.empty((count, *shape), np.uint8)


def _check_shape(shape: tuple[int, ...], wanted: tuple[int, ...], where: str) -> None:
    if shape[1] != shape[2]:
        raise UserError(f"image {where}: {shape[2]} x {shape[1]} pixels are no square; give image_size")
    if shape[0] != wanted[0]:
        raise UserError(
            f"image {where}: has {shape[0]} channels, others have {wanted[0]}; give channels=3 or channels=1"
        )
    if shape != wanted:
        raise UserError(f"image {where}: has {shape[2]} pixels, others have {wanted[2]}; give image_size")
