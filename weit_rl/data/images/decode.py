"""Images of any kind as bytes of one shape; sizes are known before anything is allocated."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from weit_rl.common.errors import UserError
from weit_rl.data.images.appearance import WIDE, shown
from weit_rl.data.images.parts import Item, Part, Unread
from weit_rl.data.images.set_warnings import warn_line

MOST_PIXELS = 64_000_000  # of a single image
MOST_BYTES = 2 * 2**30  # of a part of a set in memory; images of a larger one are decoded when they are needed
GREY = ("1", "L", "LA", "La", *WIDE)
MODES = {1: "L", 3: "RGB"}
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # PIL knows more: for EPS it runs another program


@dataclass(frozen=True)
class Reading:
    """How a set is read; see :func:`weit_rl.data.images.load_images`."""

    image_size: int | None = None
    channels: int | None = None
    skip_corrupt: bool = False
    root: Path = Path()
    download: bool = False
    said: set[str] = field(default_factory=set, compare=False)

    def __post_init__(self) -> None:
        if self.channels not in (None, *MODES):
            raise UserError(f"channels={self.channels}: must be 1 (grey) or 3 (colour)")
        if self.image_size is not None and not 1 <= self.image_size <= 4096:
            raise UserError(f"image_size={self.image_size}: must be from 1 to 4096 pixels")

    def array(self, image: Image.Image) -> np.ndarray:
        """``(channels, height, width)`` uint8."""
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS}")
        channels = self.channels or _channels(image)
        image = shown(image).convert(MODES[channels])
        if self.image_size is not None and image.size != (self.image_size, self.image_size):
            image = ImageOps.fit(image, (self.image_size, self.image_size), Image.Resampling.BICUBIC)
        return np.asarray(image).reshape(image.height, image.width, channels).transpose(2, 0, 1)

    def part(self, items: Sequence[Item]) -> Part | Unread:
        """All images of a part, in memory where they fit there.

        Raises:
            UserError: naming an image that cannot be read or has another shape than the first; if they are too many
                for the memory and it is not known which shape they are brought to.
        """
        count = len(items) * math.prod(self._shape(items))
        if count <= MOST_BYTES:
            return self.read(items)
        if self.image_size is None or self.channels is None:
            raise UserError(
                f"{len(items)} images (such as {items[0].where}) take {count / 2**30:.0f} GiB, and up to "
                f"{MOST_BYTES / 2**30:.0f} GiB are held in memory; give image_size and channels, so that they are "
                "decoded when they are needed"
            )
        labels = np.array([item.label for item in items], np.int64)
        return Unread(items, np.arange(len(items)), labels, self._shape(items), self._some)

    def read(self, items: Sequence[Item]) -> Part:
        """These images, in memory.

        Raises:
            UserError: naming one that cannot be read or has another shape than the first.
        """
        pixels, labels, skipped = np.empty((0, *self._shape(())), np.uint8), list[int](), list[str]()
        for item in items:
            try:
                image = item.open()
                array = self.array(image)
            except Exception as error:  # whatever PIL and zipfile raise for a file that is damaged
                skipped.append(_corrupt(item.where, error, self.skip_corrupt))
                continue
            self._tell_frames(item.where, image)
            if not labels:
                pixels = np.empty((len(items), *array.shape), np.uint8)
            _check_shape(array.shape, pixels.shape[1:], item.where)
            pixels[len(labels)] = array
            labels.append(item.label)
        if skipped:
            warn_line(f"left out as corrupt: {len(skipped)} of {len(items)}, such as {skipped[0]}")
        return Part(pixels[: len(labels)], np.array(labels, np.int64))

    def _tell_frames(self, where: str, image: Image.Image) -> None:
        """Say once that only a picture's first frame is seen."""
        if getattr(image, "is_animated", False) and "frames" not in self.said:
            self.said.add("frames")
            warn_line(f"{where}: of its frames or pages the first is taken, and of others like it")

    def _some(self, items: Sequence[Item]) -> Part:
        part = self.read(items)
        if not len(part):
            raise UserError(f"{items[0].where} and {len(items) - 1} others beside it: none can be read")
        return part

    def _shape(self, items: Sequence[Item]) -> tuple[int, int, int]:
        """Of the images, by the options or the header of the first that has one."""
        if self.image_size is not None:
            return self.channels or 3, self.image_size, self.image_size
        for item in items:
            with contextlib.suppress(Exception):
                image = item.open()
                return self.channels or _channels(image), image.height, image.width
        return 0, 0, 0


def _channels(image: Image.Image) -> int:
    return 1 if image.mode in GREY else 3


def _corrupt(where: str, error: Exception, skip: bool) -> str:
    if not skip:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{where}: cannot be read ({reason}); replace it, or leave such out with skip_corrupt=true")
    return where


def _check_shape(shape: tuple[int, ...], wanted: tuple[int, ...], where: str) -> None:
    if shape[1] != shape[2]:
        raise UserError(f"{where}: {shape[2]} x {shape[1]} pixels are no square; give image_size")
    if shape[0] != wanted[0]:
        raise UserError(f"{where}: has {shape[0]} channels, others have {wanted[0]}; give channels=3 or channels=1")
    if shape != wanted:
        raise UserError(f"{where}: has {shape[2]} pixels, others have {wanted[2]}; give image_size")
