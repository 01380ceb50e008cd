"""Matrix products for one group of entries on a CPU, piece by piece.

A product makes the tiles of a weight one after another, but in the weight their rows alternate. If whole weights were
made first and rearranged afterwards, all data would pass through main memory twice. So each piece is made, and copied
to its place, while it is in a core's cache. Small networks are bound by the number of calls into PyTorch, so entries
are stacked and each piece is split by one call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from weit_rl.kernels.cpu_chunked_pieces import Piece, pieces
from weit_rl.kernels.entry_groups import Group
from weit_rl.kernels.tiling import Tiling

FEW_TEMPLATES = 8  # up to so many templates, copying tiles costs more than small products that write in place
LONG_ROW = 8192  # from so many numbers in a row of tiles on, such products are large enough


def group_weights(group: Group, scalers: Sequence[Tensor], templates: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Compose the weights of a group's entries.

    Args:
        group: its ``form`` must not be None.
        scalers: ``(batch, N, *grid)`` for each entry.
        templates: ``(N, *tile)``.
        dtype: of the weights.

    Returns:
        For each entry a contiguous ``(batch * grid[0] * tile[0], ...)``.
    """
    form = group.form
    assert form is not None
    t, stacked = _stacked(group, form, scalers, templates)
    if dtype == group.sums and form.height == 1:
        return _in_order(group, form, stacked, t)
    if dtype == group.sums and group.n <= FEW_TEMPLATES and form.row >= LONG_ROW:
        return _in_rows(group, form, stacked, t)
    return _in_pieces(group, form, stacked, t, dtype)


def group_gradients(
    group: Group,
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Tensor,
    of_scalers: bool,
    total: Tensor | None,
) -> list[Tensor]:
    """Compute the gradients of a group's scalers and add those of its templates to ``total``.

    Args:
        group: its ``form`` must not be None.
        grads: gradient of each entry's weights, contiguous.
        scalers: ``(batch, N, *grid)`` for each entry.
        templates: ``(N, *tile)``.
        of_scalers: whether gradients of the scalers are needed.
        total: ``(N, prod(tile))``, to which the templates' gradient is added in place; None if it is not needed.

    Returns:
        The gradient of each entry's scalers, or an empty list unless ``of_scalers``.
    """
    form = group.form
    assert form is not None
    t, stacked = _stacked(group, form, scalers, templates)
    result = torch.empty_like(stacked) if of_scalers else None
    for piece, tiles in _gather_pieces(group, form, grads):
        if result is not None:
            torch.bmm(t.expand(piece.number, -1, -1), tiles.transpose(1, 2), out=_scalers_of(result, piece, form))
        if total is not None:
            total.addbmm_(_scalers_of(stacked, piece, form), tiles)
    if result is None:
        return []
    return _unshared(result.view(-1, group.n, *group.grid).to(group.dtype), group.batch)


def _stacked(group: Group, form: Tiling, scalers: Sequence[Tensor], templates: Tensor) -> tuple[Tensor, Tensor]:
    """Return templates ``(N, size)`` and scalers ``(weights, N, tiles)`` of all entries, in the dtype of sums."""
    all_scalers = scalers[0] if len(scalers) == 1 else torch.cat(scalers)  # type: ignore[arg-type]
    t, s = templates.reshape(group.n, form.size), all_scalers.reshape(-1, group.n, form.tiles)
    return t if group.shared_dtype == group.sums else t.to(group.sums), s if group.dtype == group.sums else s.to(
        group.sums
    )


def _unshared(entries: Tensor, batch: int) -> list[Tensor]:
    """Split into contiguous tensors with memory of their own: an operator's results must not share memory."""
    return list(torch.split_copy(entries, batch))  # type: ignore[call-overload, func-returns-value]


def _scalers_of(scalers: Tensor, piece: Piece, form: Tiling) -> Tensor:
    """Return a piece's scalers ``(number, N, tiles)`` from the stacked ones."""
    own = scalers if piece.whole else scalers.narrow(0, piece.first, piece.number)
    if piece.rows == form.rows:
        return own
    return own.narrow(2, piece.start * form.columns, piece.rows * form.columns)


def _in_order(group: Group, form: Tiling, scalers: Tensor, templates: Tensor) -> list[Tensor]:
    """Compose weights whose tiles have one row each: the product writes them where they belong."""
    t = templates.expand(group.batch, -1, -1)
    return [torch.bmm(own, t).view(group.shape) for own in scalers.transpose(1, 2).split(group.batch)]


def _in_rows(group: Group, form: Tiling, scalers: Tensor, templates: Tensor) -> list[Tensor]:
    """Compose weights by rows of tiles, with one small product for each row of the template."""
    made = [scalers.new_empty(group.shape) for _ in group.entries]
    t = templates.view(-1, form.height, form.width).transpose(0, 1)
    rows = scalers.view(-1, group.n, form.rows, form.columns).permute(0, 2, 3, 1).flatten(0, 1)
    outs = (row for weight in made for row in weight.view(-1, *form[1:]).unbind())
    for own, out in zip(rows.unbind(), outs, strict=True):
        torch.bmm(own.expand(form.height, -1, -1), t, out=out)
    return made


def _in_pieces(group: Group, form: Tiling, scalers: Tensor, templates: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Compose weights piece by piece in a buffer, and copy each piece to its place."""
    made: list[Tensor] = []
    buffer = templates.new_empty(0)
    for piece in pieces(len(group.entries), group.batch, form):
        own = _scalers_of(scalers, piece, form).transpose(1, 2)
        torch.bmm(own, templates.expand(piece.number, -1, -1), out=buffer.resize_(piece.shape))
        places = buffer.view(piece.apart).transpose(2, 3)
        if piece.batch is None:
            places = places if dtype == group.sums else places.to(dtype)
            made += [w.view(group.shape) for w in _unshared(places, group.batch)]
            continue
        if piece.entry == len(made):
            made.append(templates.new_empty(group.shape, dtype=dtype))
        _weights_of(made[piece.entry], piece, group).copy_(places)
    return made


def _weights_of(weights: Tensor, piece: Piece, group: Group) -> Tensor:
    """Return a piece's place in the weights of its entry: ``(number, rows, height, columns, width)``."""
    assert piece.batch is not None and group.places is not None
    return weights.view(group.places).narrow(0, piece.batch, piece.number).narrow(1, piece.start, piece.rows)


def _gather_pieces(group: Group, form: Tiling, grads: Sequence[Tensor]) -> Iterator[tuple[Piece, Tensor]]:
    """Yield each piece with its gradients ``(number, tiles, size)``; the next piece overwrites the buffer."""
    if form.height == 1 and grads[0].dtype == group.sums:  # tiles lie in memory as they are needed
        entries = pieces(len(grads), group.batch, form, group.batch * form.tiles * form.size)
        yield from ((piece, grad.view(piece.shape)) for piece, grad in zip(entries, grads, strict=True))
        return
    buffer = grads[0].new_empty(0, dtype=group.sums)
    for piece in pieces(len(grads), group.batch, form):
        tiles = buffer.resize_(piece.shape).view(piece.apart)
        tiles.copy_(_in_memory_order(group, form, grads, piece).transpose(2, 3))
        yield piece, buffer


def _in_memory_order(group: Group, form: Tiling, grads: Sequence[Tensor], piece: Piece) -> Tensor:
    """Copy a piece's gradients in memory order, ``(number, rows, height, columns, width)``.

    The tiles are then read from the cache. Reading their short rows from main memory takes twice as long.
    """
    if piece.batch is None:
        mine = torch.cat(grads[piece.entry : piece.entry + piece.entries])  # type: ignore[arg-type]
        mine = mine if mine.dtype == group.sums else mine.to(group.sums)
        return mine.view(-1, *form)
    return _weights_of(grads[piece.entry], piece, group).to(group.sums, copy=True)
