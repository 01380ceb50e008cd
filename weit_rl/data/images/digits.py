"""scikit-learn's handwritten digits: 1797 real grey images of 8 x 8 pixels, part of the library."""

from __future__ import annotations

import numpy as np
from PIL import Image

from weit_rl.data.images.decode import ImageReader
from weit_rl.data.images.parts import LazyImage
from weit_rl.data.images.registry import SOURCES, ImageSource, SourceParts, missing

NAME = "digits"
LICENCE = "CC BY 4.0 (Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, doi 10.24432/C50P49)"
WHITE = 16  # the largest pixel value


def read(data: str, reader: ImageReader) -> SourceParts:
    """Read all digits as training images; the set has no other parts."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing(data, "scikit-learn", error) from error
    digits = load_digits()
    pictures = np.rint(digits.images * (255 / WHITE)).astype(np.uint8)
    items = [
        LazyImage(f"image {NAME} {i}", int(label), lambda i=i: Image.fromarray(pictures[i]))  # type: ignore[misc]
        for i, label in enumerate(digits.target)
    ]
    return SourceParts({"train": reader.part(items)}, [str(digit) for digit in range(10)], LICENCE)


SOURCES.add(NAME, ImageSource(lambda: [NAME], lambda data: data == NAME, read))
