"""Pictures outside of a set, such as those that are to be classified, read as those of sets are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from weit_rl.common.errors import UserError
from weit_rl.data.images.decode import FORMATS, Reading


def are_pictures(images: Any) -> bool:
    """Return True for a list of paths or of Pillow's pictures."""
    kinds = (str, os.PathLike, Image.Image)
    return isinstance(images, list | tuple) and bool(images) and all(isinstance(one, kinds) for one in images)


def pixels_of(pictures: Sequence[Any], channels: int, image_size: int) -> np.ndarray:
    """Pictures as bytes ``(n, channels, image_size, image_size)``.

    Args:
        pictures: paths or pictures of Pillow.
        channels: 1 or 3, that they are brought to.
        image_size: edge in pixels that they are brought to, the shorter edge scaled and the middle cut out.

    Raises:
        UserError: naming one that cannot be read.
    """
    how = Reading(image_size, channels)
    return np.stack([_array(one, how) for one in pictures])


def _array(picture: Any, how: Reading) -> np.ndarray:
    if isinstance(picture, Image.Image):
        return how.array(picture)
    try:
        with Image.open(picture, formats=FORMATS) as image:
            return how.array(image)
    except Exception as error:  # whatever PIL raises for a file that is damaged
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"image {picture}: cannot be read ({reason}); give a picture of {', '.join(FORMATS)}"
        ) from error
