"""The sampler of sub-network sizes for pre-training steps; ``resize`` cuts the networks."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry
from weit_rl.common.sizes import Size

SamplingRule = Callable[[random.Random, list[Size], Size], list[Size]]
SAMPLING_RULES: Registry[SamplingRule] = Registry("masks")
SAMPLING_RULES.add("drawn", lambda rng, sizes, full: rng.sample(sizes, min(2, len(sizes))))
SAMPLING_RULES.add("one", lambda rng, sizes, full: [rng.choice(sizes)])
SAMPLING_RULES.add("full", lambda rng, sizes, full: list(dict.fromkeys([full, rng.choice(sizes)])))
SAMPLING_RULES.add("none", lambda rng, sizes, full: [full])


class SizeSampler:
    """A sampler of network sizes from a grid of widths and depths; a step always draws the same sizes.

    Args:
        widths: sampled widths, in channels.
        depths: sampled depths, in blocks.
        full: size of the network that is cut; no sampled size may exceed it.
        seed: of the draws (default 0).
        rule: how sizes are drawn (default ``"drawn"``). ``"drawn"`` trains two different sizes of the grid each step,
            all equally often. ``"one"`` trains one size, so the same FLOPs see about twice as many batches. ``"full"``
            trains the full network and one size of the grid; the full network may overfit while the others still learn.
            ``"none"`` trains the full network alone.

    Raises:
        UserError: if a grid is empty, a size exceeds the full one, or the rule is unknown.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int], full: Size, seed: int = 0, rule: str = "drawn"):
        self.full, self.seed, self.rule = full, seed, SAMPLING_RULES.get(rule)
        grid = [Size(width, depth, full.head_dim) for width in dict.fromkeys(widths) for depth in dict.fromkeys(depths)]
        self.sizes = [full] if rule == "none" else grid
        if not grid:
            raise UserError("widths and depths: name at least one of each to sample")
        for size in grid:
            if size.width > full.width or size.depth > full.depth:
                raise UserError(f"sampled size {size} is larger than the full network {full}")

    def draw(self, step: int) -> list[Size]:
        """Return the sizes that a step trains."""
        return self.rule(random.Random(f"{self.seed}/{step}"), self.sizes, self.full)
