"""Which examples a step sees: all once an epoch, in an order of its own."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


class Epochs:
    """The examples of every step, whatever steps were asked for before.

    Args:
        count: number of examples.
        batch_size: examples a step; a batch may end one epoch and begin the next.
        seed: of the orders.
    """

    def __init__(self, count: int, batch_size: int, seed: int):
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._order = lru_cache(maxsize=2)(self._permutation)

    def __call__(self, step: int) -> np.ndarray:
        """The indices of a step's examples, ``(batch_size,)``."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = places // self.count
        return np.concatenate([self._order(int(e))[places[epochs == e] % self.count] for e in np.unique(epochs)])

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.count)
