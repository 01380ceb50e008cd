"""A picture as a viewer shows it: upright, without transparency, 8 bits per channel.

Transparent places become white, as on a page. In a picture that is drawn in white only, they become black. Pictures
without transparency stay as they are.
"""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base

WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # PIL's modes of one channel of more than 8 bits
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}  # modes whose colours are multiplied by alpha, and the modes without that
BITS = 258  # TIFF's tag for the number of bits per channel
TOP, TWELVE = 65535, 4095  # the largest values of 16 and of 12 bits
WHITE, BLACK = (255, 255, 255, 255), (0, 0, 0, 255)


def shown(image: Image.Image) -> Image.Image:
    """Return the picture without orientation, transparency or wide channels, and only its first frame.

    Raises:
        ValueError: for pixels of an unknown range.
    """
    return _opaque(_in_eight_bits(_upright(image)))


def _upright(image: Image.Image) -> Image.Image:
    """Turn and mirror a picture as its EXIF says; ignore a damaged EXIF."""
    image.load()  # first, so that damaged pixels raise their own error
    try:
        return ImageOps.exif_transpose(image) if image.getexif().get(Base.Orientation, 1) != 1 else image
    except (SyntaxError, struct.error, KeyError, ValueError, TypeError, EOFError):
        return image


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Convert a picture of 16 bits to 8; PIL's own conversion makes all values above 255 white."""
    if image.mode not in WIDE:
        return image
    values = np.asarray(image)
    grey = Image.fromarray(np.rint(values / (_top(image, values) / 255)).astype(np.uint8))
    clear = image.info.get("transparency")  # the transparent value, which PIL ignores in this mode
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _top(image: Image.Image, values: np.ndarray) -> int:
    """Return the value that stands for white; raise ValueError if nothing shows it."""
    if image.mode == "F" or values.min() < 0 or values.max() > TOP:
        raise ValueError("its pixels are neither of 8 nor of 16 bits")
    if image.mode == "I" and image.format == "TIFF" and values.max() < 256:  # nearly black if read as 16 bits
        raise ValueError("its pixels are of 32 bits, and small enough for 8; save it with 8 bits")
    bits = getattr(image, "tag_v2", {}).get(BITS) if image.format == "TIFF" else None
    return TWELVE if bits == (12,) else TOP


def _opaque(image: Image.Image) -> Image.Image:
    """Put a picture with transparent places over a background."""
    if not image.has_transparency_data:
        return image if image.mode != "LAB" else image.convert("RGB")
    coloured = _with_alpha(image)
    alpha = coloured.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return image if image.mode not in PREMULTIPLIED else coloured.convert("RGB")
    page = _over(WHITE, coloured)
    drawn_in_white = alpha.getbbox() and all(channel.getextrema()[0] == 255 for channel in page.split())
    return _over(BLACK, coloured) if drawn_in_white else page


def _with_alpha(image: Image.Image) -> Image.Image:
    """Convert a picture to the mode RGBA."""
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and max(clear) > 255:  # 16 bits, of which PIL reads the upper 8
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    if image.mode in PREMULTIPLIED:
        image = image.convert(PREMULTIPLIED[image.mode])
    return image.convert("RGBA")


def _over(background: tuple[int, ...], coloured: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", coloured.size, background), coloured).convert("RGB")
