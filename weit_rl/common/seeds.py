"""Random streams that one seed gives to several uses, without two of them drawing the same numbers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

MOST_SEED = 2**31 - 1  # of a run; simulators and NumPy's older generators take seeds below 2**32
SEEDS_APART = 1000  # episodes of a run, and runs whose episodes lie side by side
_TRAINING = 2**31 - 1_000_000  # what is added to the seed of a training whose seed could be that of an episode


class Episodes(NamedTuple):
    """The seeds that are set aside for one use of episodes, apart from those of every other use.

    Attributes:
        first: of the first episode of run seed 0; those of the next run seed are ``apart`` further.
        above: where the episodes of larger run seeds are.
        blocks: so many run seeds have a place there, and then again; a prime, so that round ones do not meet.
        apart: the most episodes of a run seed.
        side_by_side: run seeds whose episodes follow ``first``.
    """

    first: int
    above: int
    blocks: int = 199_999
    apart: int = SEEDS_APART
    side_by_side: int = SEEDS_APART

    def of(self, seed: int) -> int:
        """The seed of the first episode of a run seed."""
        if seed < self.side_by_side:
            return self.first + self.apart * seed
        return self.above + self.apart * (seed % self.blocks)


VALIDATION, TEST = Episodes(1_000_000, 200_000_000), Episodes(2_000_000, 400_000_000)
COMPARISON = Episodes(8_000_000, 600_000_000)  # of episodes that no run has seen
RECORDED = Episodes(7_000_000, 800_000_000, blocks=13_441, apart=100_000, side_by_side=10)  # of saved agents
VALIDATION_SEED, TEST_SEED = VALIDATION.first, TEST.first


def training_seed(seed: int) -> int:
    """The seed of environments that a policy is trained in: its own, or one beyond the seeds of all episodes."""
    return seed if seed < SEEDS_APART else _TRAINING + seed


def seeded(use: str, seed: int) -> torch.Generator:
    """A generator of its own for each use (``"templates"``, ``"scalers"``, ...) of a run's seed."""
    import torch

    return torch.Generator().manual_seed(random.Random(f"{use}/{seed}").getrandbits(63))
