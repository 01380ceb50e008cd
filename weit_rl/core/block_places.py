"""Where equal blocks stand in a network: names for them that do not depend on how many there are.

A list may be nothing but its blocks, or hold a stem, stages of blocks and a head side by side. Neighbours of one kind
are one position, whatever their number, and positions are counted instead of children.
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
class Naming:
    """How the parameters of one kind are found and called.

    Attributes:
        pattern: for their names.
        role: their name without the index of a block.
        slot: the name of their slot, or ``""`` where the pattern tells it.
    """

    pattern: str
    role: str
    slot: str


@dataclass(frozen=True)
class Place:
    """Where one child of a list stands.

    Attributes:
        name: of the child, which ends with a number.
        label: what a role calls its position; ``""`` where the list has no other.
        members: how many children its position has.
        run: the names of its neighbours with parameters of the same shapes, itself among them.
        number: of this run among those of its position; None where it is the only one.
        later: names of the parameters of children that stand behind the run's first and are not of the run.
    """

    name: str
    label: str
    members: int
    run: tuple[str, ...]
    number: int | None
    later: frozenset[str]

    @property
    def prefix(self) -> str:
        """Its name without the number."""
        return self.name.rstrip(DIGITS)

    def pattern(self, after: str) -> str:
        """For the run's names; any number will do where no later child has such a parameter."""
        numbers = "|".join(name.removeprefix(self.prefix) for name in self.run)
        any_number = after not in self.later or (not self.label and self.number is None)
        return re.escape(self.prefix) + (LAYER if any_number else f"(?P<layer>{numbers})")

    def key(self) -> list[str]:
        """What stands in a slot's name for all blocks of the run."""
        number = [] if self.number is None else [str(self.number)]
        return [*filter(None, [self.label]), *number, f"{self.prefix}*"]


class BlockPlaces:
    """The places of all children of all lists of a network.

    Args:
        net: the network.
        by_position: whether only blocks of lists of equal ones are blocks of one kind.
    """

    def __init__(self, net: nn.Module, by_position: bool = False):
        self._places: dict[str, Place] = {}
        self._by_position = by_position
        for name, module in net.named_modules():
            if isinstance(module, CONTAINERS) and type(module) is not nn.ModuleDict:  # the names of a dict are a choice
                for place in _places(module, by_position):
                    self._places[f"{name}.{place.name}".lstrip(".")] = place

    def naming(self, name: str) -> Naming:
        """The naming of a parameter; depth is the outermost list that holds several blocks of its kind."""
        parts = name.split(".")
        found = {i: place for i in range(len(parts)) if (place := self._places.get(".".join(parts[: i + 1])))}
        several = [i for i, place in found.items() if place.members > 1 and not self._by_position]
        whole = [i for i, place in found.items() if not place.label]
        depth = several[0] if several else whole[-1] if whole else len(parts)
        pattern, role, key, default = [], [], [], []
        for i, part in enumerate(parts):
            place, at_depth = found.get(i), i == depth
            label = place.label if place and i <= depth else part
            pattern.append(found[i].pattern(".".join(parts[i + 1 :])) if at_depth else re.escape(part))
            default.append(f"{found[i].prefix}*" if at_depth else part)
            key += found[i].key() if at_depth else [label or part]
            role += [] if place and not place.label and i >= depth else [label or part]
        slot = ".".join(key)
        return Naming(r"\.".join(pattern), ".".join(role), "" if key == default else slot)


def _places(module: nn.Module, by_position: bool) -> Iterator[Place]:
    """The places of a list's numbered children."""
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
                    yield Place(name, label, len(members), tuple(run), only, later)


def _positions(children: dict[str, nn.Module], by_position: bool) -> list[list[str]]:
    """The names of the children of each position.

    Neighbours of one class of block are one position, also where their shapes differ, as at the start of a stage.
    Stages and containers are so only with the same shapes; single layers only where a list of numbers holds no others.
    """
    shapes = {name: _shapes(child) for name, child in children.items()}
    numbered = all(name.isdigit() for name in children) or (
        not by_position and all(map(_is_composite, children.values()))
    )
    if numbered and len(set(shapes.values())) == 1 and all(shapes.values()):
        return [list(children)]
    if by_position:
        return [[name] for name in children]
    kinds = {name: _kind(name, child) for name, child in children.items()}
    return [list(names) for _, names in groupby(children, lambda name: kinds[name])]


def _kind(name: str, child: nn.Module) -> tuple[Any, ...]:
    """Neighbours of the same kind are one position."""
    prefix = name.rstrip(DIGITS)
    if not _is_composite(child):
        return (name,)
    return (prefix, type(child)) if _is_block(child) else (prefix, _shapes(child))


def _shapes(module: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, tuple(p.shape)) for name, p in module.named_parameters())


def _is_composite(module: nn.Module) -> bool:
    return any(_shapes(child) for child in module.children()) and not is_parametrized(module)


def _is_block(module: nn.Module) -> bool:
    """Whether a module is a block of a class of its own, and no stage, which holds a list of blocks."""
    return not isinstance(module, CONTAINERS) and not any(map(_holds_blocks, module.modules()))


def _holds_blocks(module: nn.Module) -> bool:
    if not isinstance(module, CONTAINERS) or type(module) is nn.ModuleDict:
        return False
    parts = [child for child in module.children() if _shapes(child)]
    kinds = {type(child) for child in parts}
    return len(kinds) == 1 and all(map(_is_composite, parts)) and not isinstance(parts[0], CONTAINERS)
