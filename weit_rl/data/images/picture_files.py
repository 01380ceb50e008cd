"""Pictures that belong to no set, such as those to classify, decoded in the same way as sets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from weit_rl.common.errors import UserError
from weit_rl.data.images.decode import PICTURE_FORMATS, ImageReader


def are_pictures(images: Any) -> bool:
    """Return True for a list of paths or of Pillow's pictures."""
    kinds = (str, os.PathLike, Image.Image)
    return isinstance(images, list | tuple) and bool(images) and all(isinstance(one, kinds) for one in images)


def pixels_of(pictures: Sequence[Any], channels: int, image_size: int) -> np.ndarray:
    """Decode pictures to bytes ``(n, channels, image_size, image_size)``.

    Args:
        pictures: paths, or images of Pillow.
        channels: 1 or 3, to convert to.
        image_size: edge in pixels to resize to; the shorter edge is scaled and the middle cropped.

    Raises:
        UserError: naming a picture that cannot be read.
    """
    reader = ImageReader(image_size, channels)
    return np.stack([_array(one, reader) for one in pictures])


def _array(picture: Any, reader: ImageReader) -> np.ndarray:
    if isinstance(picture, Image.Image):
        return reader.array(picture)
    try:
        with Image.open(picture, formats=PICTURE_FORMATS) as image:
            return reader.array(image)
    except Exception as error:  # PIL raises many kinds for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"image {picture}: cannot be read ({reason}); give a picture of {', '.join(PICTURE_FORMATS)}"
        ) from error
