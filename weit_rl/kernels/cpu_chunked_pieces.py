"""Division of the weights of a group into pieces that fit a core's L2 cache."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from weit_rl.kernels.tiling import Tiling

PIECE = 196608  # numbers; 768 KiB of float32 fill most of a 1 MiB L2 cache, and half of it is up to 20 % slower


class Piece(NamedTuple):
    """Some whole entries, some weights of one entry, or some rows of tiles of one weight.

    Attributes:
        first: index of the piece's first weight, counted through all entries.
        number: number of weights.
        start: first row of tiles taken from each weight.
        rows: number of rows of tiles taken from each weight.
        entry: index of the first entry.
        entries: number of entries.
        batch: index of the first weight within its entry, or None if the entries are whole.
        whole: True if the piece holds all entries.
        shape: of its tiles, one after another: ``(number, tiles, size)``.
        apart: of the same with axes split: ``(number, rows, columns, height, width)``.
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
    """Divide ``entries`` entries of ``batch`` weights each into pieces of at most ``limit`` numbers.

    Small entries share a piece. A large entry is cut between its weights or between rows of tiles. A single row of
    tiles is never cut, even if it exceeds the limit.
    """
    weight = form.tiles * form.size

    def piece(first: int, count: int, start: int, rows: int, entries_at_once: int, begin: int | None) -> Piece:
        whole = begin is None and entries_at_once == entries
        shape, apart = (count, rows * form.columns, form.size), (count, rows, form.columns, form.height, form.width)
        return Piece(first, count, start, rows, first // batch, entries_at_once, begin, whole, shape, apart)

    entries_at_once = limit // (batch * weight)
    if entries_at_once:
        sizes = ((e, min(entries_at_once, entries - e)) for e in range(0, entries, entries_at_once))
        return tuple(piece(e * batch, n * batch, 0, form.rows, n, None) for e, n in sizes)
    count, rows = max(1, limit // weight), form.rows if weight <= limit else max(1, limit // form.row)
    return tuple(
        piece(e * batch + b, min(count, batch - b), start, min(rows, form.rows - start), 1, b)
        for e in range(entries)
        for b in range(0, batch, count)
        for start in range(0, form.rows, rows)
    )
