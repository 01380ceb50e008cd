"""The axes of a network's weights, for methods that treat an axis alike in all weights that share it.

An axis is identified by its name. If a parameter outside the blocks has the axis (the residual stream), the whole
network shares it. If only blocks have it (heads, hidden), every block has its own. Where the first axis of a weight is
fused (q, k, v), its parts differ, and other weights read its last part (v).
"""

from __future__ import annotations

from dataclasses import dataclass

from weit_rl.core.plan import FIXED, Layout, Slot


@dataclass(frozen=True)
class Axis:
    """An axis whose length depends on the size.

    Attributes:
        name: its name in the rules.
        blocks: prefix of the list of blocks that it belongs to (``"blocks."``), or ``""`` for the whole network.
        length: number of entries.
        layers: number of blocks; 1 for an axis of the whole network.
        parts: number of fused parts along it; 1 for an axis of the whole network.
    """

    name: str
    blocks: str
    length: int
    layers: int
    parts: int

    @property
    def key(self) -> str:
        """Return a name that is unique among all axes of a network."""
        return self.blocks + self.name


def axes_of(layout: Layout) -> dict[str, tuple[Axis | None, ...]]:
    """Return the axes of every slot in the order of its rule; None stands for a fixed axis."""
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
    """Return the prefix of the list of blocks that a stacked slot lies in (``"blocks."``)."""
    return slot.name.partition("*")[0]
