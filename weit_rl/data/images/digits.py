"""scikit-learn's handwritten digits, 1797 grey images of 8 x 8 pixels: real, small, and part of the library."""

from __future__ import annotations

import numpy as np
from PIL import Image

from weit_rl.data.images.decode import Reading
from weit_rl.data.images.parts import Item
from weit_rl.data.images.registry import SOURCES, Read, Source, missing

NAME = "digits"
LICENCE = "CC BY 4.0 (Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, doi 10.24432/C50P49)"
WHITE = 16  # its brightest pixel


def read(data: str, how: Reading) -> Read:
    """All digits as training images: it has no other parts."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing(data, "scikit-learn", error) from error
    digits = load_digits()
    pictures = np.rint(digits.images * (255 / WHITE)).astype(np.uint8)
    items = [
        Item(f"image {NAME} {i}", int(label), lambda i=i: Image.fromarray(pictures[i]))  # type: ignore[misc]
        for i, label in enumerate(digits.target)
    ]
    return Read({"train": how.part(items)}, [str(digit) for digit in range(10)], LICENCE)


SOURCES.add(NAME, Source(lambda: [NAME], lambda data: data == NAME, read))
