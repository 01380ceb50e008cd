"""The places of blocks in a network's lists of modules.

A list may hold only blocks, or a stem, stages of blocks and a head side by side. Neighbours of one kind form one
position, whatever their number. Positions are counted instead of children, so that places do not depend on depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from weit_rl.core.rules import LAYER

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
DIGITS = "0123456789"


@dataclass(frozen=True)
class BlockPlace:
    """The place of one child in its list.

    Attributes:
        name: of the child; it ends with a number.
        label: name of its position in a role; ``""`` if the list has one position.
        members: number of children at its position.
        run: names of the neighbours whose parameters have the same shapes, itself included.
        number: index of this run at its position; None if it is the only one.
        later: names of parameters in children that follow the run's first child and are not in the run.
    """

    name: str
    label: str
    members: int
    run: tuple[str, ...]
    number: int | None
    later: frozenset[str]

    @property
    def prefix(self) -> str:
        """Return its name without the number."""
        return self.name.rstrip(DIGITS)

    def pattern(self, after: str) -> str:
        """Return a regular expression for the run's names, with any number if no later child has such a parameter."""
        numbers = "|".join(name.removeprefix(self.prefix) for name in self.run)
        any_number = after not in self.later or (not self.label and self.number is None)
        return re.escape(self.prefix) + (LAYER if any_number else f"(?P<layer>{numbers})")

    def key(self) -> list[str]:
        """Return the parts of a slot's name that stand for all blocks of the run."""
        number = [] if self.number is None else [str(self.number)]
        return [*filter(None, [self.label]), *number, f"{self.prefix}*"]


def is_list(module: nn.Module) -> bool:
    """Return True for a list of modules; the names in a ``ModuleDict`` do not show depth."""
    return isinstance(module, CONTAINERS) and type(module) is not nn.ModuleDict


def find_places(module: nn.Module, by_position: bool) -> Iterator[BlockPlace]:
    """Yield the places of a list's numbered children.

    Args:
        module: the list.
        by_position: if True, only equal children form one position.
    """
    children = dict(module.named_children())
    names = list(children)
    positions = _positions(children, by_position)
    whole, folded = len(positions) == 1, any(len(members) > 1 for members in positions)
    for count, members in enumerate(positions):
        runs = [list(run) for _, run in groupby(members, lambda name: _shapes(children[name]))]
        for number, run in enumerate(runs):
            behind = names[names.index(run[0]) :]
            later = frozenset(name for child in behind if child not in run for name, _ in _shapes(children[child]))
            for name in run:
                label = "" if whole else f"{name.rstrip(DIGITS)}{count}" if folded else name
                if name[-1] in DIGITS:
                    only = number if len(runs) > 1 else None
                    yield BlockPlace(name, label, len(members), tuple(run), only, later)


def _positions(children: dict[str, nn.Module], by_position: bool) -> list[list[str]]:
    """Return the names of the children at each position.

    Neighbours of one class of block form one position, even if their shapes differ, as at the start of a stage. Stages
    and containers do so only if their shapes are equal. Single layers do so only if all children have numbers as names
    and equal shapes.
    """
    shapes = {name: _shapes(child) for name, child in children.items()}
    numbered = all(name.isdigit() for name in children) or (
        not by_position and all(map(_is_composite, children.values()))
    )
    if numbered and len(set(shapes.values())) == 1 and all(shapes.values()):
        return [list(children)]
    if by_position:
        return [[name] for name in children]
    kinds = {name: _block_kind(name, child) for name, child in children.items()}
    return [list(names) for _, names in groupby(children, lambda name: kinds[name])]


def _block_kind(name: str, child: nn.Module) -> tuple[Any, ...]:
    """Return a key that is equal for neighbours of one position."""
    prefix = name.rstrip(DIGITS)
    if not _is_composite(child):
        return (name,)
    return (prefix, type(child)) if _is_block(child) else (prefix, _shapes(child))


def _shapes(module: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, tuple(p.shape)) for name, p in module.named_parameters())


def _is_composite(module: nn.Module) -> bool:
    return any(_shapes(child) for child in module.children()) and not is_parametrized(module)


def _is_block(module: nn.Module) -> bool:
    """Return True for a block of a class of its own, False for a stage, which holds a list of blocks."""
    return not isinstance(module, CONTAINERS) and not any(map(_holds_blocks, module.modules()))


def _holds_blocks(module: nn.Module) -> bool:
    """Return True for a list of blocks of one class."""
    if not is_list(module):
        return False
    parts = [child for child in module.children() if _shapes(child)]
    kinds = {type(child) for child in parts}
    return len(kinds) == 1 and all(map(_is_composite, parts)) and not isinstance(parts[0], CONTAINERS)
