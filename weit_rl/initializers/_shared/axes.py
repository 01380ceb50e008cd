"""What lies along each axis of each weight: methods that treat an axis as one thing everywhere ask here.

The convention, by names alone: an axis that some parameter outside the blocks has (the residual stream) is one and the
same in the whole network; one that only blocks have (heads, hidden) is each block's own. Where the first axis of a
weight is fused (q, k, v), its parts differ, and whatever reads the axis reads its last part (v).
"""

from __future__ import annotations

from dataclasses import dataclass

from weit_rl.core.plan import FIXED, Layout, Slot


@dataclass(frozen=True)
class Axis:
    """An axis that sizes change.

    Attributes:
        name: as the rules call it.
        blocks: the list of blocks whose own it is (``"blocks."``), or ``""`` for one of the whole network.
        length: its entries.
        layers: number of blocks; 1 for one of the whole network.
        parts: fused parts along it; 1 for one of the whole network.
    """

    name: str
    blocks: str
    length: int
    layers: int
    parts: int

    @property
    def key(self) -> str:
        """A name of its own among all axes of a network."""
        return self.blocks + self.name


def axes_of(layout: Layout) -> dict[str, tuple[Axis | None, ...]]:
    """The axes of every slot in the order of its rule, None for a fixed one."""
    shared = {name for slot in layout.values() if not slot.stacked for name in slot.rule.axes}

    def axis(slot: Slot, index: int, name: str) -> Axis | None:
        if name == FIXED:
            return None
        if name in shared:
            return Axis(name, "", slot.part[index], 1, 1)
        blocks = blocks_of(slot)
        fused = [
            s.rule.split for s in layout.values() if s.stacked and blocks_of(s) == blocks and s.rule.axes[:1] == (name,)
        ]
        return Axis(name, blocks, slot.part[index], len(slot.names), max(fused, default=1))

    return {key: tuple(axis(slot, i, name) for i, name in enumerate(slot.rule.axes)) for key, slot in layout.items()}


def blocks_of(slot: Slot) -> str:
    """The list of blocks a stacked slot lies in, as its names begin (``"blocks."``)."""
    return slot.name.partition("*")[0]
