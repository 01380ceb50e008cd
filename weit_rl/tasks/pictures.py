"""Arrange many small images in one picture."""

from __future__ import annotations

from io import BytesIO

import numpy as np

EDGE = 64  # smallest edge of an image in the picture, in pixels
GAP = 2  # pixels around every image


def grid_of(images: np.ndarray, columns: int) -> bytes:
    """Arrange images ``(n, C, H, W)`` uint8 in rows of ``columns``, as a PNG; small images are enlarged."""
    import imageio.v3 as imageio

    scale = max(1, -(-EDGE // images.shape[-1]))
    large = images.repeat(scale, axis=2).repeat(scale, axis=3)
    padded = np.pad(large, ((0, -len(images) % columns), (0, 0), (GAP, GAP), (GAP, GAP)), constant_values=255)
    n, channels, height, width = padded.shape
    rows = padded.reshape(n // columns, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = rows.reshape(n // columns * height, columns * width, channels)
    buffer = BytesIO()
    imageio.imwrite(buffer, picture.squeeze(-1) if channels == 1 else picture, extension=".png")
    return buffer.getvalue()
