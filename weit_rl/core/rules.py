"""The rule of a parameter, and the slot that holds a network's parameters of one kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

LAYER = r"(?P<layer>\d+)"  # part of a pattern that matches the index of a block in its list
FIXED = "fixed"  # name of an axis that no size changes
HEADS = "heads"  # name of the axis made of attention heads; head_dim stays the same at every size
HEAD = "head"  # role of the output layer
STREAM = "stream"  # name of the residual stream's axis; several stages have "stream0", "stream1", ...


@dataclass(frozen=True)
class Rule:
    """The role, tile and axes of all parameters whose names match a pattern.

    Args:
        pattern: regular expression for the whole parameter name; the group :data:`LAYER` matches the block's index.
        role: name, in the bank, of the templates these parameters share.
        tile: shape of one template, one length per axis, or None for a free parameter (not composed).
        split: number of fused parts along the first axis (default 1; 3 for a qkv projection).
        axes: name of each axis; axes of one name grow and shrink together, ``"fixed"`` never does.
        fan_in: index of the axis that is summed over, or None (default) if there is none (embeddings, biases).
        std: standard deviation of fresh templates (default 0.02).
        slot: name of the slot (default: the parameter's name with ``*`` for its layer). It is needed if that name would
            differ in a network of another depth.
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
        shape: of one parameter.
        stacked: True if the slot lies in a list of blocks, so that its first axis is depth.
        ties: pairs of a further name, under which the network uses a parameter again, and the parameter's first name.
    """

    name: str
    rule: Rule
    names: tuple[str, ...]
    shape: tuple[int, ...]
    stacked: bool
    ties: tuple[tuple[str, str], ...] = ()

    @property
    def part(self) -> tuple[int, ...]:
        """Return the shape of one parameter with its fused parts taken apart."""
        return (self.shape[0] // self.rule.split, *self.shape[1:]) if self.shape else ()

    @property
    def grid(self) -> tuple[int, ...]:
        """Return the number of tiles along each axis, rounded up; the last tiles are cropped."""
        return tuple(math.ceil(n / t) for n, t in zip(self.part, self.rule.tile or self.part, strict=True))

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Return the shape of the slot's stacked tensor: ``(layers, split, *part)``."""
        return (len(self.names), self.rule.split, *self.part)


Layout = Mapping[str, Slot]
