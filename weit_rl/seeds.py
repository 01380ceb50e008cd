"""Random streams that one seed gives to several uses, without two of them drawing the same numbers."""

from __future__ import annotations

import random

import torch


def seeded(use: str, seed: int) -> torch.Generator:
    """A generator of its own for each use (``"templates"``, ``"scalers"``, ...) of a run's seed."""
    return torch.Generator().manual_seed(random.Random(f"{use}/{seed}").getrandbits(63))
