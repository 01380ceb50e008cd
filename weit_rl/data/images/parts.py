"""Labelled images of one shape: as bytes in memory, or decoded on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from weit_rl.data.prefetch import prefetched

SAMPLE, SAMPLE_SEED = 1000, 0  # size and seed of the sample that stands for images that are not in memory


class LazyImage(NamedTuple):
    """An image that is not opened yet: its name in error messages (``image x.png``), its label, and its opener."""

    where: str
    label: int
    open: Callable[[], Image.Image]


@dataclass(frozen=True)
class ImagesInMemory:
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
        """Return the shape of an image, ``(channels, height, width)``."""
        return self.pixels.shape[1:]

    def subset(self, chosen: np.ndarray) -> ImagesInMemory:
        """Return the images of these indices, or of this mask."""
        return ImagesInMemory(self.pixels[chosen], self.labels[chosen])

    def read(self, chosen: np.ndarray) -> ImagesInMemory:
        """Return the images of these indices, as :meth:`subset`; they are in memory already."""
        return self.subset(chosen)

    def chunks(self, size: int, workers: int = 0) -> Iterator[ImagesInMemory]:
        """Yield all images in their order, ``size`` at a time; ``workers`` is ignored, since nothing is decoded."""
        return (self.subset(np.arange(first, min(first + size, len(self)))) for first in range(0, len(self), size))

    def sample(self) -> ImagesInMemory:
        """Return the images that statistics are computed from: all."""
        return self


@dataclass(frozen=True)
class ImagesOnDemand:
    """Labelled images that are decoded on demand.

    Attributes:
        items: the images of the whole set.
        places: indices of the items that belong here.
        labels: ``(n,)`` int64.
        shape: of an image, ``(channels, height, width)``.
        decode: decodes items; raises UserError for a corrupt one, or leaves it out.
    """

    items: Sequence[LazyImage]
    places: np.ndarray
    labels: np.ndarray
    shape: tuple[int, ...]
    decode: Callable[[Sequence[LazyImage]], ImagesInMemory]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, chosen: np.ndarray) -> ImagesOnDemand:
        """Return the images of these indices, or of this mask, still to be decoded."""
        return replace(self, places=self.places[chosen], labels=self.labels[chosen])

    def read(self, chosen: np.ndarray) -> ImagesInMemory:
        """Decode the images of these indices, or of this mask; corrupt ones may be left out."""
        return self.decode([self.items[place] for place in self.places[chosen]])

    def chunks(self, size: int, workers: int = 0) -> Iterator[ImagesInMemory]:
        """Yield all images in their order, ``size`` at a time, decoded ahead by worker processes."""

        def chunk(number: int) -> tuple[np.ndarray, np.ndarray]:
            part = self.read(np.arange(number * size, min((number + 1) * size, len(self))))
            return part.pixels, part.labels

        made = prefetched(chunk, range(-(-len(self) // size)), workers)
        return (ImagesInMemory(*(np.asarray(array) for array in pair)) for pair in made)

    def sample(self) -> ImagesInMemory:
        """Decode the images that statistics are computed from: always the same 1000, drawn at random."""
        return self.read(np.sort(np.random.default_rng(SAMPLE_SEED).permutation(len(self))[:SAMPLE]))
