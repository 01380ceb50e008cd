"""Labelled images of one shape: as bytes in memory, or still to be decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from weit_rl.data.prefetch import in_turn

SAMPLE, SAMPLE_SEED = 1000, 0  # images by which others are judged that are not in memory


class Item(NamedTuple):
    """An image that was not read yet: what error messages call it (``image x.png``), its label, and what opens it."""

    where: str
    label: int
    open: Callable[[], Image.Image]


@dataclass(frozen=True)
class Part:
    """Labelled images in memory.

    Attributes:
        pixels: ``(n, channels, height, width)`` uint8.
        labels: ``(n,)`` int64.
    """

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image, ``(channels, height, width)``."""
        return self.pixels.shape[1:]

    def subset(self, chosen: np.ndarray) -> Part:
        """Those of these indices, or of this mask."""
        return Part(self.pixels[chosen], self.labels[chosen])

    def read(self, chosen: np.ndarray) -> Part:
        """The same; of images that are not in memory it decodes them."""
        return self.subset(chosen)

    def chunks(self, size: int, workers: int = 0) -> Iterator[Part]:
        """All of them in their order, so many at a time; ``workers`` is for those that are not in memory."""
        return (self.subset(np.arange(first, min(first + size, len(self)))) for first in range(0, len(self), size))

    def sample(self) -> Part:
        """What is looked at to judge all: all."""
        return self


@dataclass(frozen=True)
class Unread:
    """Labelled images that are decoded whenever they are needed.

    Attributes:
        items: what opens them, and others.
        places: which of the items are meant.
        labels: ``(n,)`` int64.
        shape: of an image, ``(channels, height, width)``.
        decode: reads items; raises UserError for one that is corrupt, or leaves it out.
    """

    items: Sequence[Item]
    places: np.ndarray
    labels: np.ndarray
    shape: tuple[int, ...]
    decode: Callable[[Sequence[Item]], Part]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, chosen: np.ndarray) -> Unread:
        """Those of these indices, or of this mask, still unread."""
        return replace(self, places=self.places[chosen], labels=self.labels[chosen])

    def read(self, chosen: np.ndarray) -> Part:
        """Those of these indices, or of this mask, but for corrupt ones that are left out."""
        return self.decode([self.items[place] for place in self.places[chosen]])

    def chunks(self, size: int, workers: int = 0) -> Iterator[Part]:
        """All of them in their order, so many at a time, read ahead by worker processes."""

        def chunk(number: int) -> tuple[np.ndarray, np.ndarray]:
            part = self.read(np.arange(number * size, min((number + 1) * size, len(self))))
            return part.pixels, part.labels

        made = in_turn(chunk, range(-(-len(self) // size)), workers)
        return (Part(*(np.asarray(array) for array in pair)) for pair in made)

    def sample(self) -> Part:
        """What is looked at to judge all: the same 1000, drawn at random."""
        return self.read(np.sort(np.random.default_rng(SAMPLE_SEED).permutation(len(self))[:SAMPLE]))
