"""Order of training examples: every example once per epoch, in a new random order."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


class Epochs:
    """The indices of the examples of every training step, the same for a step in any order of calls.

    Args:
        count: number of examples.
        batch_size: examples per step; a batch may end one epoch and begin the next.
        seed: of the random orders.
    """

    def __init__(self, count: int, batch_size: int, seed: int):
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._order = lru_cache(maxsize=2)(self._permutation)

    def __call__(self, step: int) -> np.ndarray:
        """Return the indices of a step's examples, ``(batch_size,)``."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = places // self.count
        return np.concatenate([self._order(int(e))[places[epochs == e] % self.count] for e in np.unique(epochs)])

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.count)
