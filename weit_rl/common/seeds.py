"""Random seeds and generators that keep the uses of one run seed apart."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

MOST_SEED = 2**31 - 1  # largest seed of a run; simulators and NumPy's older generators take seeds below 2**32
SEEDS_APART = 1000  # most episodes of a run, and number of runs whose episode seeds are consecutive
_TRAINING = 2**31 - 1_000_000  # added to a training seed that could be the seed of an episode


class Episodes(NamedTuple):
    """A range of episode seeds for one use, apart from the ranges of all other uses.

    Attributes:
        first: seed of the first episode of run seed 0; the next run seed's episodes begin ``apart`` later.
        above: where the episode seeds of larger run seeds begin.
        blocks: number of larger run seeds with a range of their own, after which ranges repeat. It is a prime, so that
            round run seeds do not share a range.
        apart: most episodes of a run seed.
        side_by_side: number of run seeds whose episode seeds follow ``first``.
    """

    first: int
    above: int
    blocks: int = 199_999
    apart: int = SEEDS_APART
    side_by_side: int = SEEDS_APART

    def of(self, seed: int) -> int:
        """Return the seed of a run seed's first episode."""
        if seed < self.side_by_side:
            return self.first + self.apart * seed
        return self.above + self.apart * (seed % self.blocks)


VALIDATION, TEST = Episodes(1_000_000, 200_000_000), Episodes(2_000_000, 400_000_000)
COMPARISON = Episodes(8_000_000, 600_000_000)  # episodes that no run has used
RECORDED = Episodes(7_000_000, 800_000_000, blocks=13_441, apart=100_000, side_by_side=10)  # recordings of saved agents
VALIDATION_SEED, TEST_SEED = VALIDATION.first, TEST.first


def training_seed(seed: int) -> int:
    """Return the seed of the training environments: the run's own, or one beyond all episode seeds."""
    return seed if seed < SEEDS_APART else _TRAINING + seed


def seeded_generator(use: str, seed: int) -> torch.Generator:
    """Return the generator of a run's seed for one use, such as ``"templates"``, independent of other uses."""
    import torch

    return torch.Generator().manual_seed(random.Random(f"{use}/{seed}").getrandbits(63))
