"""Widths of an actor's hidden layers times a factor, and tiles that divide them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from weit_rl.common.errors import UserError

LONGEST = 16  # largest edge of a tile, channels


def widths_times(old: Sequence[int], factor: float) -> list[int]:
    """Return the widths of a resized actor.

    Raises:
        UserError: if they are not whole numbers; it names the nearest factors that are possible.
    """
    new = [round(width * factor) for width in old]
    for width, whole in zip(old, new, strict=True):
        if whole < 1 or not math.isclose(width * factor, whole, rel_tol=1e-6):
            parts = math.gcd(*old)
            below = max(1, math.floor(factor * parts))
            raise UserError(
                f"factor={factor:g}: makes {width} channels {width * factor:g}; give one that makes all widths whole, "
                f"a multiple of 1/{parts}, such as {below / parts:g} or {(below + 1) / parts:g}"
            )
    return new


def tile_edge(old: int, new: int) -> int:
    """Return the longest edge of a tile that divides both widths."""
    return max(edge for edge in range(1, LONGEST + 1) if old % edge == new % edge == 0)
