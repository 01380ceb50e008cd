"""Patterns, roles and slots of parameters in blocks, independent of how many blocks there are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from weit_rl.core.block_places import BlockPlace, find_places, is_list


@dataclass(frozen=True)
class Naming:
    """The pattern, role and slot of the parameters of one kind.

    Attributes:
        pattern: regular expression for their names.
        role: their name without the index of a block.
        slot: name of their slot, or ``""`` if the pattern gives it.
    """

    pattern: str
    role: str
    slot: str


class BlockNames:
    """The names of all parameters of a network by the places of its blocks.

    Args:
        net: the network.
        by_position: if True, only blocks of a list of equal blocks share a role (default False).
    """

    def __init__(self, net: nn.Module, by_position: bool = False):
        self._places: dict[str, BlockPlace] = {}
        self._by_position = by_position
        for name, module in net.named_modules():
            if is_list(module):
                for place in find_places(module, by_position):
                    self._places[f"{name}.{place.name}".lstrip(".")] = place

    def naming(self, name: str) -> Naming:
        """Return the naming of a parameter; depth is the outermost list that holds several blocks of its kind."""
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
