"""Decoding of images of any kind to bytes of one shape, with sizes checked before memory is allocated."""

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
from weit_rl.data.images.parts import ImagesInMemory, ImagesOnDemand, LazyImage
from weit_rl.data.images.set_warnings import warn_line

MOST_PIXELS = 64_000_000  # in a single image
MOST_BYTES = 2 * 2**30  # in memory per part of a set; images of a larger part are decoded on demand
GREY = ("1", "L", "LA", "La", *WIDE)
MODES = {1: "L", 3: "RGB"}
PICTURE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # not EPS: PIL runs another program for it


@dataclass(frozen=True)
class ImageReader:
    """A decoder with the options of :func:`weit_rl.data.images.load_images`."""

    image_size: int | None = None
    channels: int | None = None
    skip_corrupt: bool = False
    root: Path = Path()
    download: bool = False
    warned: set[str] = field(default_factory=set, compare=False)

    def __post_init__(self) -> None:
        if self.channels not in (None, *MODES):
            raise UserError(f"channels={self.channels}: must be 1 (grey) or 3 (colour)")
        if self.image_size is not None and not 1 <= self.image_size <= 4096:
            raise UserError(f"image_size={self.image_size}: must be from 1 to 4096 pixels")

    def array(self, image: Image.Image) -> np.ndarray:
        """Decode an image to ``(channels, height, width)`` uint8."""
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS}")
        channels = self.channels or _channels(image)
        image = shown(image).convert(MODES[channels])
        if self.image_size is not None and image.size != (self.image_size, self.image_size):
            image = ImageOps.fit(image, (self.image_size, self.image_size), Image.Resampling.BICUBIC)
        return np.asarray(image).reshape(image.height, image.width, channels).transpose(2, 0, 1)

    def part(self, items: Sequence[LazyImage]) -> ImagesInMemory | ImagesOnDemand:
        """Read all images of a part: to memory if they fit there, else on demand.

        Raises:
            UserError: naming an image that cannot be read or differs in shape from the first; or if the images do not
                fit in memory and the options do not fix their shape.
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
        return ImagesOnDemand(items, np.arange(len(items)), labels, self._shape(items), self._some)

    def read(self, items: Sequence[LazyImage]) -> ImagesInMemory:
        """Decode images to memory.

        Raises:
            UserError: naming an image that cannot be read or differs in shape from the first.
        """
        pixels, labels, skipped = np.empty((0, *self._shape(())), np.uint8), list[int](), list[str]()
        for item in items:
            try:
                image = item.open()
                array = self.array(image)
            except Exception as error:  # PIL and zipfile raise many kinds for a damaged file
                skipped.append(_corrupt(item.where, error, self.skip_corrupt))
                continue
            self._warn_of_frames(item.where, image)
            if not labels:
                pixels = np.empty((len(items), *array.shape), np.uint8)
            _check_shape(array.shape, pixels.shape[1:], item.where)
            pixels[len(labels)] = array
            labels.append(item.label)
        if skipped:
            warn_line(f"left out as corrupt: {len(skipped)} of {len(items)}, such as {skipped[0]}")
        return ImagesInMemory(pixels[: len(labels)], np.array(labels, np.int64))

    def _warn_of_frames(self, where: str, image: Image.Image) -> None:
        """Warn once that only the first frame of a picture is used."""
        if getattr(image, "is_animated", False) and "frames" not in self.warned:
            self.warned.add("frames")
            warn_line(f"{where}: takes only the first of its frames or pages, and so for others like it")

    def _some(self, items: Sequence[LazyImage]) -> ImagesInMemory:
        part = self.read(items)
        if not len(part):
            raise UserError(f"{items[0].where} and {len(items) - 1} others beside it: none can be read")
        return part

    def _shape(self, items: Sequence[LazyImage]) -> tuple[int, int, int]:
        """Return the shape of the images, by the options or by the header of the first image that has one."""
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
