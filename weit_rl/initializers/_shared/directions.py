"""Directions from a source to a target (wider, deeper ...), and the refusal of those that a method does not have."""

from __future__ import annotations

from torch import nn

from weit_rl.common.errors import NotDefined
from weit_rl.core.plan import FIXED, Layout, Plan


def widths(layout: Layout) -> dict[str, int]:
    """Return the length of every axis that depends on the size, by its name."""
    return {
        axis: length
        for slot in layout.values()
        for axis, length in zip(slot.rule.axes, slot.part, strict=True)
        if axis != FIXED
    }


def depth(layout: Layout) -> int:
    """Return the number of blocks of the deepest list."""
    return max((len(slot.names) for slot in layout.values() if slot.stacked), default=1)


def refuse(method: str, source: nn.Module, target: nn.Module, plan: Plan, *, wider: bool = True, narrower: bool = True,
           deeper: bool = True, shallower: bool = True) -> None:  # fmt: skip
    """Raise NotDefined if the target lies in a direction that is False.

    Args:
        method: name of the method, for the message.
        source: a plain network.
        target: a plain network of the same family.
        plan: of both.
        wider: whether an axis of the target may be longer than the source's (default True).
        narrower: whether one may be shorter (default True).
        deeper: whether the target may have more blocks (default True).
        shallower: whether it may have fewer (default True).
    """
    old, new = plan.layout(source), plan.layout(target)
    before, after = widths(old), widths(new)
    lies = {
        "wider": any(after[axis] > before[axis] for axis in after),
        "narrower": any(after[axis] < before[axis] for axis in after),
        "deeper": depth(new) > depth(old),
        "shallower": depth(new) < depth(old),
    }
    allowed = {"wider": wider, "narrower": narrower, "deeper": deeper, "shallower": shallower}
    for way, is_so in lies.items():
        if is_so and not allowed[way]:
            raise NotDefined(
                f"init={method}: not defined for a target {way} than its source; choose another init or source"
            )
