"""How stacked weights are cut into pieces that fit a core's cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from torch import Tensor

from weit_rl.kernels.tiling import Tiling

PIECE = 65536  # numbers: 256 KiB of float32, which leaves room in the second cache for the factors


class Piece(NamedTuple):
    """Some weights whole, or some rows of tiles of one of them.

    Attributes:
        first, count: the weights, of all entries in order.
        start, rows: the rows of tiles of each.
        spans: where the weights lie: ``(entry, first of its batch, how many)``.
        form: how tiles lie in a weight.
    """

    first: int
    count: int
    start: int
    rows: int
    spans: tuple[tuple[int, int, int], ...]
    form: Tiling

    def of(self, scalers: Tensor) -> Tensor:
        """The piece's part of stacked scalers: ``(count, N, tiles)`` of ``(batch, N, tiles)``."""
        columns = self.form.columns
        return scalers.narrow(0, self.first, self.count).narrow(2, self.start * columns, self.rows * columns)

    def matched(self, buffer: Tensor, places: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Parts of a buffer ``(count, tiles, size)`` beside the parts of the weights that they belong to.

        Both are ``(batch, rows, columns, height, width)``.
        """
        form, done = self.form, 0
        tiles = buffer.view(self.count, self.rows, form.columns, form.height, form.width)
        for entry, begin, number in self.spans:
            place = places[entry].narrow(0, begin, number).narrow(1, self.start, self.rows)
            yield tiles.narrow(0, done, number), place.transpose(2, 3)
            done += number


@cache
def pieces(batches: tuple[int, ...], form: Tiling) -> tuple[Piece, ...]:
    """The pieces of entries with so many weights each.

    Several weights share a piece where they are small; a large one is cut between rows of tiles.
    """
    total, weight = sum(batches), form.tiles * form.size
    count = max(1, PIECE // max(weight, 1))
    rows = form.rows if weight <= PIECE else max(1, PIECE // form.row)
    return tuple(
        Piece(first, min(count, total - first), start, min(rows, form.rows - start), spans, form)
        for first, spans in ((first, _spans(batches, first, first + count)) for first in range(0, total, count))
        for start in range(0, form.rows, rows)
    )


@cache
def whole(batches: tuple[int, ...], form: Tiling) -> tuple[Piece, ...]:
    """One piece for each entry."""
    firsts = accumulate(batches, initial=0)
    return tuple(
        Piece(first, number, 0, form.rows, ((entry, 0, number),), form)
        for entry, (number, first) in enumerate(zip(batches, firsts, strict=False))
    )


def _spans(batches: tuple[int, ...], first: int, past: int) -> tuple[tuple[int, int, int], ...]:
    """Which part of which entry the weights from ``first`` to before ``past`` are."""
    bounds = [0, *accumulate(batches)]
    parts = ((max(first, low), min(past, high), low) for low, high in zip(bounds, bounds[1:]))
    return tuple((e, begin - low, end - begin) for e, (begin, end, low) in enumerate(parts) if begin < end)
