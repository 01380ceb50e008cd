"""The layout of tiles in the memory of a composed weight."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple


class Tiling(NamedTuple):
    """A weight of any number of axes seen as a matrix of tiles: ``(rows, height, columns, width)`` in memory.

    An axis with one tile, or with tiles of length one, is merged into its neighbour. So the kernel axes of a
    convolution widen the tile, and a depthwise convolution is a single row of tiles.

    Attributes:
        rows, columns: the grid; tile ``(i, j)`` is number ``i * columns + j``, as in the flattened scalers.
        height, width: the tile; entry ``(a, b)`` is number ``a * width + b``, as in the flattened templates.
    """

    rows: int
    height: int
    columns: int
    width: int

    @property
    def tiles(self) -> int:
        """Count the tiles of one weight."""
        return self.rows * self.columns

    @property
    def size(self) -> int:
        """Count the numbers in one tile."""
        return self.height * self.width

    @property
    def row(self) -> int:
        """Count the numbers in one row of tiles."""
        return self.columns * self.size


@cache
def tiling(grid: tuple[int, ...], tile: tuple[int, ...]) -> Tiling | None:
    """Return the layout for a grid and a tile, or None if over two axes have several tiles longer than 1."""
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
