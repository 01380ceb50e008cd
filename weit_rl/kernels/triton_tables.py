"""Tables of integers that tell each Triton program its work; they depend on shapes alone and are cached."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weit_rl.kernels.entry_groups import Group
from weit_rl.kernels.tiling import Tiling

ENTRIES = 64  # most entries of one launch; each is an argument, and a program finds its own by bisection
PROGRAMS = 512  # target number of programs of a launch, enough to fill a large GPU


@dataclass(frozen=True, eq=False)
class Launch:
    """A kernel launch for entries whose templates have one shape.

    Attributes:
        entries: their indices in the call.
        roles: indices of their templates in the call.
        like: one of their groups.
        form: layout of tiles in a weight of that group.
        rows: for each block of tiles, sorted by role: ``(entry, role, first tile, last tile + 1, tiles of a weight,
            columns, 0, 0)``. Entries and roles are counted within the launch.
        bounds: for each role its first row and its last row + 1.
    """

    entries: tuple[int, ...]
    roles: tuple[int, ...]
    like: Group
    form: Tiling
    rows: tuple[tuple[int, ...], ...]
    bounds: tuple[tuple[int, int], ...]


@cache
def plan_launches(groups: tuple[Group, ...], block: int) -> tuple[Launch, ...] | None:
    """Plan the launches of a call for blocks of ``block`` tiles.

    Returns:
        The launches, or None if a weight is no matrix of tiles or has more numbers than 32-bit offsets reach.
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
def rows_on_device(launch: Launch, device: torch.device) -> Tensor:
    """Return a launch's table of rows on a device, ``(rows, 8)`` int64."""
    return torch.tensor(launch.rows, dtype=torch.int64).to(device)


class Shares(NamedTuple):
    """Division of a launch's rows among the programs that sum over tiles.

    Attributes:
        table: the rows; consecutive rows of one entry are merged.
        rows: for each share its first row and its last row + 1, ``(shares, 2)``.
        bounds: for each role its first share and its last share + 1, ``(roles, 2)``.
    """

    table: Tensor
    rows: Tensor
    bounds: Tensor


@cache
def shares_on_device(launch: Launch, blocks: int, device: torch.device) -> Shares:
    """Divide a launch's rows into shares of about equal size, enough to keep a GPU busy.

    Args:
        launch: the launch.
        blocks: number of programs for each share.
        device: of the tables.
    """
    wanted = max(1, PROGRAMS // blocks)
    table: list[tuple[int, ...]] = []
    shares: list[tuple[int, int]] = []
    bounds: list[tuple[int, int]] = []
    for begin, past in launch.bounds:
        number = min(past - begin, max(1, wanted * (past - begin) // len(launch.rows)))
        bounds.append((len(shares), len(shares) + number))
        cuts = [begin + k * (past - begin) // number for k in range(number + 1)]
        for first, end in itertools.pairwise(cuts):
            own = _merge_rows(launch.rows[first:end])
            shares.append((len(table), len(table) + len(own)))
            table += own
    return Shares(*(torch.tensor(rows, dtype=torch.int64).to(device) for rows in (table, shares, bounds)))


def _merge_rows(rows: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Merge consecutive rows of one entry into one row."""
    long: list[tuple[int, ...]] = []
    for _, same in itertools.groupby(rows, key=lambda row: row[0]):
        own = list(same)
        long.append((*own[0][:3], *own[-1][3:]))
    return long
