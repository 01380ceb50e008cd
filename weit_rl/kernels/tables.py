"""What the kernels' programs are told: rows of whole numbers that depend on shapes alone, made once for each layout."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weit_rl.kernels.grouping import Group
from weit_rl.kernels.tiling import Tiling

ENTRIES = 64  # of one launch: each is an argument, and a program finds its own by halving them
PROGRAMS = 512  # of a launch, about: enough to fill large GPUs


@dataclass(frozen=True, eq=False)
class Launch:
    """Entries with templates of one shape.

    Attributes:
        entries, roles: their places in the call.
        like: one of their groups.
        form: how tiles lie in a weight of it.
        rows: for each block of tiles, role by role, ``(entry, role, first tile, the one past its last, tiles of a
            weight, columns, 0, 0)``, where entries and roles are counted within the launch.
        bounds: for each role the first of its rows and the one past its last.
    """

    entries: tuple[int, ...]
    roles: tuple[int, ...]
    like: Group
    form: Tiling
    rows: tuple[tuple[int, ...], ...]
    bounds: tuple[tuple[int, int], ...]


@cache
def launches(groups: tuple[Group, ...], block: int) -> tuple[Launch, ...] | None:
    """The launches of a call, for blocks of so many tiles.

    None where a weight is no matrix of tiles, or has more numbers than the kernels count.
    """
    alike: dict[Any, list[tuple[Group, int]]] = {}
    for g in groups:
        if g.form is None or g.batch * g.form.tiles * max(g.form.size, g.n) >= 2**31:
            return None
        key = g.n, g.form.size, g.form.width, g.dtype, g.shared_dtype
        alike.setdefault(key, []).extend((g, entry) for entry in g.entries)
    parts = (
        sorted(pairs, key=lambda pair: pair[0].role)[k : k + ENTRIES]
        for pairs in alike.values()
        for k in range(0, len(pairs), ENTRIES)
    )
    return tuple(_launch(part, block) for part in parts)


def _launch(pairs: Sequence[tuple[Group, int]], block: int) -> Launch:
    roles = tuple(dict.fromkeys(group.role for group, _ in pairs))
    rows: list[tuple[int, ...]] = []
    bounds: list[tuple[int, int]] = []
    for number, role in enumerate(roles):
        begin = len(rows)
        for entry, (group, _) in enumerate(pairs):
            if group.role == role:
                rows += _rows(entry, number, group, block)
        bounds.append((begin, len(rows)))
    like, entries = pairs[0][0], tuple(entry for _, entry in pairs)
    assert like.form is not None
    return Launch(entries, roles, like, like.form, tuple(rows), tuple(bounds))


def _rows(entry: int, role: int, group: Group, block: int) -> Iterator[tuple[int, ...]]:
    form = group.form
    assert form is not None
    tiles = group.batch * form.tiles
    firsts = range(0, tiles, block)
    return ((entry, role, k, min(k + block, tiles), form.tiles, form.columns, 0, 0) for k in firsts)


@cache
def rows_on(launch: Launch, device: torch.device) -> Tensor:
    """The table of rows on a device."""
    return torch.tensor(launch.rows, dtype=torch.int64).to(device)


class Shares(NamedTuple):
    """How the rows of a launch are divided among the programs that sum over tiles.

    Attributes:
        table: the rows, in which those that follow each other are one.
        rows: of every share the first of its rows in it, and the one past its last ``(shares, 2)``.
        bounds: of every role the first of its shares, and the one past its last ``(roles, 2)``.
    """

    table: Tensor
    rows: Tensor
    bounds: Tensor


@cache
def shares_on(launch: Launch, blocks: int, device: torch.device) -> Shares:
    """Shares of about as many rows each, with ``blocks`` programs each, that keep a GPU busy."""
    wanted = max(1, PROGRAMS // blocks)
    table: list[tuple[int, ...]] = []
    shares: list[tuple[int, int]] = []
    bounds: list[tuple[int, int]] = []
    for begin, past in launch.bounds:
        number = min(past - begin, max(1, wanted * (past - begin) // len(launch.rows)))
        bounds.append((len(shares), len(shares) + number))
        cuts = [begin + k * (past - begin) // number for k in range(number + 1)]
        for first, end in itertools.pairwise(cuts):
            own = _joined(launch.rows[first:end])
            shares.append((len(table), len(table) + len(own)))
            table += own
    return Shares(*(torch.tensor(rows, dtype=torch.int64).to(device) for rows in (table, shares, bounds)))


def _joined(rows: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Rows of one entry, which follow each other, as one."""
    long: list[tuple[int, ...]] = []
    for _, same in itertools.groupby(rows, key=lambda row: row[0]):
        own = list(same)
        long.append((*own[0][:3], *own[-1][3:]))
    return long
