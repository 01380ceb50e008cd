"""Structured masks: which sub-network a pre-training step trains (the cutting itself is ``resize``'s)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from weit_rl.errors import UserError
from weit_rl.sizes import Size


class Masks:
    """Draws sizes uniformly from a grid of widths and depths; the same step always gives the same size.

    Args:
        widths: sampled widths, channels.
        depths: sampled depths, blocks.
        full: the network that is cut; no sampled size may exceed it.
        seed: of the draws.

    Raises:
        UserError: if a grid is empty or a size exceeds the full one.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int], full: Size, seed: int = 0):
        self.sizes = [Size(width, depth, full.head_dim) for width in widths for depth in depths]
        self.full, self.seed = full, seed
        if not self.sizes:
            raise UserError("widths and depths: name at least one of each to sample")
        for size in self.sizes:
            if size.width > full.width or size.depth > full.depth:
                raise UserError(f"sampled size {size} is larger than the full network {full}")

    def draw(self, step: int) -> Size | None:
        """The sub-network of a step, or None when the full network itself was drawn."""
        size = random.Random(f"{self.seed}/{step}").choice(self.sizes)
        return None if size == self.full else size
