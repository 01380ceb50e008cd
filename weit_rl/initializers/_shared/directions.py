"""Which way a target lies from its source, and refusing the ways a method is not defined for."""

from __future__ import annotations

from torch import nn

from weit_rl.common.errors import NotDefined
from weit_rl.core.plan import FIXED, Layout, Plan


def widths(layout: Layout) -> dict[str, int]:
    """The length of every axis that a size changes, by its name."""
    return {
        axis: length
        for slot in layout.values()
        for axis, length in zip(slot.rule.axes, slot.part, strict=True)
        if axis != FIXED
    }


def depth(layout: Layout) -> int:
    """The number of blocks of the deepest list."""
    return max((len(slot.names) for slot in layout.values() if slot.stacked), default=1)


def refuse(method: str, source: nn.Module, target: nn.Module, plan: Plan, *, wider: bool = True, narrower: bool = True,
           deeper: bool = True, shallower: bool = True) -> None:  # fmt: skip
    """NotDefined where the target lies in a direction that is False.

    Args:
        method: its name, for the message.
        source: a plain network.
        target: a plain network of the same family.
        plan: of both.
        wider: whether an axis of the target may be longer than the source's; the other three likewise.
    """
    old, new = plan.layout(source), plan.layout(target)
    before, after = widths(old), widths(new)
    is_so = {
        "wider": any(after[axis] > before[axis] for axis in after),
        "narrower": any(after[axis] < before[axis] for axis in after),
        "deeper": depth(new) > depth(old),
        "shallower": depth(new) < depth(old),
    }
    allowed = {"wider": wider, "narrower": narrower, "deeper": deeper, "shallower": shallower}
    for way, wrong in is_so.items():
        if wrong and not allowed[way]:
            raise NotDefined(
                f"init={method}: not defined for a target {way} than its source; choose another init or source"
            )
