"""Random streams that one seed gives to several uses, without two of them drawing the same numbers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Episode i of run seed s starts from base + SEEDS_APART s + i: disjoint, as long as s and i stay below SEEDS_APART.
VALIDATION_SEED, TEST_SEED, SEEDS_APART = 1_000_000, 2_000_000, 1000
COMPARISON_SEED = 8_000_000  # of episodes that no run has seen


def seeded(use: str, seed: int) -> torch.Generator:
    """A generator of its own for each use (``"templates"``, ``"scalers"``, ...) of a run's seed."""
    import torch

    return torch.Generator().manual_seed(random.Random(f"{use}/{seed}").getrandbits(63))
