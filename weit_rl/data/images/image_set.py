"""A set of labelled images in three parts, read from any source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.data.images.parts import ImagesInMemory, ImagesOnDemand

COUNTED = 4096  # images per chunk when pixels are counted
SPLIT_SEED = 0  # fixed, so that every run holds out the same images


@dataclass(frozen=True)
class Images:
    """Labelled images of one shape.

    Attributes:
        name: of the set.
        classes: the names of the labels, in their order.
        train: images for training.
        held_out: images for model selection.
        test: images for the final score.
        licence: what is known of the images' licence.
        shifts: True if a shifted image keeps its label (default True).
    """

    name: str
    classes: tuple[str, ...]
    train: ImagesInMemory | ImagesOnDemand
    held_out: ImagesInMemory | ImagesOnDemand
    test: ImagesInMemory | ImagesOnDemand
    licence: str
    shifts: bool = True

    @property
    def channels(self) -> int:
        """Return the channels of an image, 1 or 3."""
        return self.train.shape[0]

    @property
    def image_size(self) -> int:
        """Return the edge of an image in pixels."""
        return self.train.shape[1]

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of the training images' channels, ``(channels, 1, 1)`` each, for pixels in [0, 1].

        If the images are not in memory, a sample of them is used. The deviation of a constant channel is 1.
        """
        return self._statistics

    @cached_property
    def _statistics(self) -> tuple[np.ndarray, np.ndarray]:
        pixels, counts = self.train.sample().pixels, np.zeros((self.channels, 256), np.int64)
        for first in range(0, len(pixels), COUNTED):  # exact, without a float copy of all images
            for channel, some in enumerate(pixels[first : first + COUNTED].transpose(1, 0, 2, 3)):
                counts[channel] += np.bincount(some.reshape(-1), minlength=256)
        values, shares = np.arange(256) / 255, counts / counts[0].sum()
        mean = shares @ values
        std = np.sqrt(np.maximum(shares @ values**2 - mean**2, 0))
        std = np.where((counts > 0).sum(1) == 1, 1.0, np.maximum(std, 1 / 255))
        return tuple(x.astype(np.float32)[:, None, None] for x in (mean, std))  # type: ignore[return-value]

    def drawn(self, count: int) -> Images:
        """Draw ``count`` training images at random; a larger draw contains every smaller one.

        Raises:
            UserError: if there are fewer.
        """
        if count > len(self.train):
            raise UserError(f"data_images={count}: {self.name} has {len(self.train)} to train on; ask for fewer")
        chosen = np.random.default_rng(SPLIT_SEED).permutation(len(self.train))[:count]
        return replace(self, train=self.train.subset(np.sort(chosen)))
