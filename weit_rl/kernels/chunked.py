"""Composition on a CPU: matrix products on pieces that stay in a core's cache, each moved to its place from there.

A product makes tiles one after the other, while in the weight their rows alternate. For whole weights at a time, product
and move would each go through main memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from weit_rl.kernels.pieces import Piece, pieces, whole
from weit_rl.kernels.tiling import Tiling, accumulator, shape, tiling

Write = Callable[[Tensor, Tensor, Sequence[Tensor], Tiling], None]
FEW = 8  # templates up to which moving costs more than small products that write in place
LONG = 8192  # numbers of a row of tiles from which such products are large enough


def compose(scalers: Sequence[Tensor], templates: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """The weights of all entries of one role.

    Args:
        scalers: of each entry ``(batch, N, *grid)``, of the forms that :func:`tiling` knows.
        templates: ``(N, *tile)``.
        dtype: of the weights; products are summed in float32, in float64 for float64.

    Returns:
        For each entry ``(batch, grid[0] * tile[0], ...)``.
    """
    made: list[Tensor] = []
    for own, form, t in _groups(scalers, templates):
        weights = [s.new_empty(shape(s, templates), dtype=dtype) for s in own]
        places = [w.view(-1, *form) for w in weights]
        _write(form, t, dtype)(_stacked(own, t.dtype), t, places, form)
        made += weights
    return made


def gradients(
    grads: Sequence[Tensor], scalers: Sequence[Tensor], templates: Tensor, of_scalers: bool, of_templates: bool
) -> tuple[list[Tensor], Tensor | None]:
    """What reaches the scalers of each entry and the templates from the gradients of :func:`compose`'s weights.

    Returns:
        A gradient for each entry's scalers (none unless ``of_scalers``), and that of the templates (None unless
        ``of_templates``).
    """
    upstream, made, total = iter(grads), [], None
    for own, form, t in _groups(scalers, templates):
        total = torch.zeros_like(t) if total is None and of_templates else total
        stacked = _stacked(own, t.dtype)
        result = torch.empty_like(stacked) if of_scalers else None
        for piece, tiles in _gathered([next(upstream).view(-1, *form) for _ in own], form, t):
            if result is not None:
                torch.bmm(t.expand(piece.count, -1, -1), tiles.transpose(1, 2), out=piece.of(result))
            if total is not None:
                total.addbmm_(piece.of(stacked), tiles)
        if result is not None:
            made += _apart(result, own)
    return made, None if total is None else total.to(templates.dtype).view_as(templates)


def _groups(scalers: Sequence[Tensor], templates: Tensor) -> Iterator[tuple[list[Tensor], Tiling, Tensor]]:
    """Entries in a row that share a shape, with their form and the templates ``(N, size)`` in the dtype of sums."""
    for _, run in groupby(scalers, key=lambda s: (s.shape[1:], s.dtype)):
        own = list(run)
        form = tiling(tuple(own[0].shape[2:]), tuple(templates.shape[1:]))
        assert form is not None
        yield own, form, templates.to(accumulator(own[0], templates)).reshape(len(templates), -1)


def _stacked(own: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    return (own[0] if len(own) == 1 else torch.cat(list(own))).flatten(2).to(dtype).contiguous()


def _apart(result: Tensor, own: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of their own: what an operator returns must not share memory."""
    parts = result.split([len(s) for s in own])
    return [part.to(s.dtype, copy=len(own) > 1).view_as(s) for part, s in zip(parts, own, strict=True)]


def _write(form: Tiling, templates: Tensor, dtype: torch.dtype) -> Write:
    if dtype != templates.dtype:
        return _in_pieces
    if form.height == 1:
        return _in_order
    return _in_rows if len(templates) <= FEW and form.row >= LONG else _in_pieces


def _in_order(scalers: Tensor, templates: Tensor, places: Sequence[Tensor], form: Tiling) -> None:
    """Tiles of one row each lie in the weight as a product makes them."""
    parts = scalers.split([len(place) for place in places])
    for own, place in zip(parts, places, strict=True):
        out = place.view(len(own), form.tiles, form.size)
        torch.bmm(own.transpose(1, 2), templates.expand(len(own), -1, -1), out=out)


def _in_rows(scalers: Tensor, templates: Tensor, places: Sequence[Tensor], form: Tiling) -> None:
    """Row by row of tiles, a small product for each row of the template."""
    by_row = templates.view(-1, form.height, form.width).transpose(0, 1)
    rows = scalers.view(len(scalers), -1, form.rows, form.columns).permute(0, 2, 3, 1).flatten(0, 1)
    outs = (row for place in places for row in place.flatten(0, 1))
    for own, out in zip(rows, outs, strict=True):
        torch.bmm(own.expand(form.height, -1, -1), by_row, out=out)


def _in_pieces(scalers: Tensor, templates: Tensor, places: Sequence[Tensor], form: Tiling) -> None:
    buffer = templates.new_empty(0)
    for piece in pieces(tuple(len(place) for place in places), form):
        buffer.resize_(piece.count, piece.rows * form.columns, form.size)
        torch.bmm(piece.of(scalers).transpose(1, 2), templates.expand(piece.count, -1, -1), out=buffer)
        for tiles, place in piece.matched(buffer, places):
            place.copy_(tiles)


def _gathered(places: Sequence[Tensor], form: Tiling, like: Tensor) -> Iterator[tuple[Piece, Tensor]]:
    """Piece by piece the gradients ``(count, tiles, size)``; the next one is written over the last."""
    buffer, batches = like.new_empty(0), tuple(len(place) for place in places)
    if form.height == 1 and places[0].dtype == like.dtype:
        yield from ((piece, places[e].view(-1, form.tiles, form.size)) for e, piece in enumerate(whole(batches, form)))
        return
    for piece in pieces(batches, form):
        buffer.resize_(piece.count, piece.rows * form.columns, form.size)
        for tiles, place in piece.matched(buffer, places):
            tiles.copy_(place)
        yield piece, buffer
