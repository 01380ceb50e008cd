"""Where the numbers of a tile lie in a composed weight."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple


class Tiling(NamedTuple):
    """A weight of any number of axes as a matrix of tiles: ``(rows, height, columns, width)`` in memory.

    Axes without tiles or without a template belong to their neighbours, so that a convolution's kernel axes widen the
    template and a depthwise one is a single row of tiles.

    Attributes:
        rows, columns: the grid; tile ``(i, j)`` is number ``i * columns + j``, as in the flattened scalers.
        height, width: the template; entry ``(a, b)`` is number ``a * width + b``, as in the flattened templates.
    """

    rows: int
    height: int
    columns: int
    width: int

    @property
    def tiles(self) -> int:
        """Tiles of one weight."""
        return self.rows * self.columns

    @property
    def size(self) -> int:
        """Numbers of one tile."""
        return self.height * self.width

    @property
    def row(self) -> int:
        """Numbers of one row of tiles."""
        return self.columns * self.size


@cache
def tiling(grid: tuple[int, ...], tile: tuple[int, ...]) -> Tiling | None:
    """The matrix of tiles that a grid and a template make; None where three axes or more have both."""
    runs: list[list[int]] = []  # [kind, length], kinds in turn: 0 counts tiles, 1 lies within one
    for pair in zip(grid, tile, strict=True):
        for kind, length in enumerate(pair):
            if length != 1 and runs and runs[-1][0] == kind:
                runs[-1][1] *= length
            elif length != 1:
                runs.append([kind, length])
    if not runs or runs[-1][0] == 0:
        runs.append([1, 1])
    if len(runs) > 4:
        return None
    return Tiling(*[1] * (4 - len(runs)), *(length for _, length in runs))
