"""The rule of a parameter, and the slot of all parameters of one kind in a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

LAYER = r"(?P<layer>\d+)"  # in a pattern: the index of a block in its list
FIXED = "fixed"  # the name of an axis no size changes
HEADS = "heads"  # of the axis made of heads of head_dim channels, a length no size changes
HEAD = "head"  # the role of the layer that makes the outputs
STREAM = "stream"  # of the axis that all blocks read from and add to; stages of their own begin so ("stream0")


@dataclass(frozen=True)
class Rule:
    """What the parameters matching a pattern are.

    Args:
        pattern: regular expression over the whole parameter name; the group :data:`LAYER` marks the block's index.
        role: the pool of templates these parameters share (a name in the bank).
        tile: shape of one template, one number per axis, or None for a free parameter (not composed).
        split: number of fused parts along the first axis (3 for a qkv projection).
        axes: the name of each axis; axes of one name grow and shrink together, ``"fixed"`` never.
        fan_in: index of the axis that is summed over, or None where there is none (embeddings, biases).
        std: standard deviation of fresh templates.
        slot: the name of the slot, where the parameter's own name, with ``*`` for its layer, would be another one in
            a network of another depth.
    """

    pattern: str
    role: str
    tile: tuple[int, ...] | None = None
    split: int = 1
    axes: tuple[str, ...] = ()
    fan_in: int | None = None
    std: float = 0.02
    slot: str = ""


@dataclass(frozen=True)
class Slot:
    """All layers of one kind of parameter in one network.

    Attributes:
        name: the parameter's name with ``*`` for the layer.
        rule: the rule that matched.
        names: the parameters' names in order of depth.
        shape: the shape of one parameter.
        stacked: whether the slot lies in a list of blocks (its first axis is depth).
        ties: pairs of a further name, under which the network uses a parameter again, and the parameter's name.
    """

    name: str
    rule: Rule
    names: tuple[str, ...]
    shape: tuple[int, ...]
    stacked: bool
    ties: tuple[tuple[str, str], ...] = ()

    @property
    def part(self) -> tuple[int, ...]:
        """Shape of one parameter after its fused parts are taken apart."""
        return (self.shape[0] // self.rule.split, *self.shape[1:]) if self.shape else ()

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of tiles along each axis, rounded up (the last ones are cropped)."""
        return tuple(math.ceil(n / t) for n, t in zip(self.part, self.rule.tile or self.part, strict=True))

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Shape of the slot's stacked tensor: ``(layers, split, *part)``."""
        return (len(self.names), self.rule.split, *self.part)


Layout = Mapping[str, Slot]
