"""Structured masks: which networks a pre-training step trains (the cutting itself is ``resize``'s)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry
from weit_rl.common.sizes import Size

Rule = Callable[[random.Random, list[Size], Size], list[Size]]
RULES: Registry[Rule] = Registry("masks")
RULES.add("drawn", lambda rng, sizes, full: rng.sample(sizes, min(2, len(sizes))))
RULES.add("one", lambda rng, sizes, full: [rng.choice(sizes)])
RULES.add("full", lambda rng, sizes, full: list(dict.fromkeys([full, rng.choice(sizes)])))
RULES.add("none", lambda rng, sizes, full: [full])


class Masks:
    """Draws networks from a grid of widths and depths; the same step always draws the same ones.

    Args:
        widths: sampled widths, channels.
        depths: sampled depths, blocks.
        full: the network that is cut; no sampled size may exceed it.
        seed: of the draws.
        rule: ``"drawn"`` (default) trains two different sizes of the grid a step, all equally often; ``"one"`` a single
            one, which for the same FLOPs sees about twice as many batches; ``"full"`` the full network and one of the
            grid, which lets the full one learn its data by heart while the others still learn; ``"none"`` the full
            network alone.

    Raises:
        UserError: if a grid is empty, a size exceeds the full one, or the rule is unknown.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int], full: Size, seed: int = 0, rule: str = "drawn"):
        self.full, self.seed, self.rule = full, seed, RULES.get(rule)
        grid = [Size(width, depth, full.head_dim) for width in dict.fromkeys(widths) for depth in dict.fromkeys(depths)]
        self.sizes = [full] if rule == "none" else grid
        if not grid:
            raise UserError("widths and depths: name at least one of each to sample")
        for size in grid:
            if size.width > full.width or size.depth > full.depth:
                raise UserError(f"sampled size {size} is larger than the full network {full}")

    def draw(self, step: int) -> list[Size]:
        """The sizes a step trains."""
        return self.rule(random.Random(f"{self.seed}/{step}"), self.sizes, self.full)
