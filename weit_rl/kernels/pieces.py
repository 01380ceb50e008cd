"""How the weights of like entries are cut into pieces that fit a core's cache."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from weit_rl.kernels.tiling import Tiling

PIECE = 196608  # numbers: 768 KiB of float32, most of a second cache of 1 MiB; half of it is up to 20 % slower


class Piece(NamedTuple):
    """Some entries whole, or some weights of one entry, or some rows of tiles of one weight.

    Attributes:
        first, number: the weights, counted through all entries.
        start, rows: the rows of tiles of each of them.
        entry, entries: the first entry and how many.
        batch: where in the weights of its entry it begins, or None where the entries are whole.
        whole: whether it is all there is.
        shape: of its tiles, one after the other: ``(number, tiles, size)``.
        apart: of its tiles taken apart: ``(number, rows, columns, height, width)``.
    """

    first: int
    number: int
    start: int
    rows: int
    entry: int
    entries: int
    batch: int | None
    whole: bool
    shape: tuple[int, int, int]
    apart: tuple[int, int, int, int, int]


@cache
def pieces(entries: int, batch: int, form: Tiling, limit: int = PIECE) -> tuple[Piece, ...]:
    """The pieces of so many entries of ``batch`` weights each.

    Several share a piece of at most ``limit`` numbers where they are small; a large one is cut, between its weights or
    between rows of tiles, where one row may exceed the limit.
    """
    weight = form.tiles * form.size

    def piece(first: int, count: int, start: int, rows: int, together: int, begin: int | None) -> Piece:
        whole = begin is None and together == entries
        shape, apart = (count, rows * form.columns, form.size), (count, rows, form.columns, form.height, form.width)
        return Piece(first, count, start, rows, first // batch, together, begin, whole, shape, apart)

    together = limit // (batch * weight)
    if together:
        sizes = ((e, min(together, entries - e)) for e in range(0, entries, together))
        return tuple(piece(e * batch, n * batch, 0, form.rows, n, None) for e, n in sizes)
    count, rows = max(1, limit // weight), form.rows if weight <= limit else max(1, limit // form.row)
    return tuple(
        piece(e * batch + b, min(count, batch - b), start, min(rows, form.rows - start), 1, b)
        for e in range(entries)
        for b in range(0, batch, count)
        for start in range(0, form.rows, rows)
    )
