"""What a narrower network keeps of a wide one: directions or channels of its streams, heads, hidden channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weit_rl.core.plan import FIXED, HEADS, STREAM, Layout, Slot
from weit_rl.fitting.layer_inputs import CONVOLUTIONS, Record, can_be_fitted
from weit_rl.fitting.least_squares import pivots, principal, selection

Basis = Callable[[Iterable[Tensor], int], Tensor]  # from where a stream is read and the narrow width: (narrow, wide)


def linears(net: nn.Module, layout: Layout) -> dict[str, tuple[Slot, int]]:
    """Slot and layer of every layer whose weight is summed over an axis, by the module's name."""
    found = {}
    for slot in layout.values():
        for layer, name in enumerate(slot.names):
            module = name.rpartition(".")[0]
            if slot.rule.fan_in == 1 and can_be_fitted(net.get_submodule(module)):
                found[module] = (slot, layer)
    return found


def norms(net: nn.Module, layout: Layout) -> dict[str, str]:
    """The LayerNorms over a stream, by name, and which stream; those without parameters are over the only one."""
    axes = {
        name.rpartition(".")[0]: s.rule.axes[0] for s in layout.values() if len(s.rule.axes) == 1 for name in s.names
    }
    found = {name: module for name, module in net.named_modules() if isinstance(module, nn.LayerNorm)}
    named = {name: STREAM if found[name].weight is None else axes.get(name, "") for name in found}
    return {name: axis for name, axis in named.items() if axis.startswith(STREAM)}


def depthwise(net: nn.Module, layout: Layout) -> dict[str, str]:
    """The convolutions of every channel of a stream by itself, by name, and which stream."""
    found = {}
    for slot in layout.values():
        for module in (name.rpartition(".")[0] for name in slot.names):
            convolves = len(slot.rule.axes) > 2 and slot.rule.axes[1] == FIXED and slot.stacked
            if convolves and slot.rule.axes[0].startswith(STREAM):
                found[module] = slot.rule.axes[0]
    return found


def bases_to_try(net: nn.Module, layout: Layout) -> tuple[Basis, ...]:
    """What a narrow stream may be made of, for the family of a network; which is best, its loss tells.

    Directions, where linear layers read it; channels, where each has a kernel of its own. Where other convolutions or
    modulated layers do, a ReLU or scales may be in between, which directions do not go through.
    """
    modules = [net.get_submodule(name) for name in (*norms(net, layout), *linears(net, layout))]
    if depthwise(net, layout):
        return (selection,)
    if any(isinstance(module, CONVOLUTIONS) or module.weight is None for module in modules):
        return principal, selection
    return (principal,)


def bases_of(source: nn.Module, wide: Layout, narrow: Layout, seen: Record, basis: Basis) -> dict[str, Tensor] | None:
    """What the narrow streams are made of, by axis; None where there is none, or no LayerNorm reads it."""
    found, read = {}, norms(source, wide)
    for axis in {axis for slot in wide.values() for axis in slot.rule.axes if axis.startswith(STREAM)}:
        streams = [seen.inputs[name] for name, own in read.items() if own == axis and name in seen.inputs]
        if not streams:
            return None
        found[axis] = basis(streams, _length(narrow, axis))
    return found or None


def chosen(
    source: nn.Module, wide: Layout, narrow: Layout, seen: Record, head_dim: int
) -> dict[tuple[str, int], Tensor]:
    """The heads and hidden channels that stay, in their order, by axis and layer."""
    found = {}
    for name, (slot, layer) in linears(source, wide).items():
        axis = slot.rule.axes[1]
        if axis.startswith(STREAM) or axis == FIXED:
            continue
        size = head_dim if axis == HEADS else 1
        weight = source.get_parameter(f"{name}.weight")
        sizes = weight.movedim(1, 0).flatten(1).norm(dim=1)
        moved = ((seen.inputs[name] - seen.inputs[name].mean(0)) * sizes).double()
        units = pivots(moved.T @ moved, size, _length(narrow, axis) // size)
        found[axis, layer] = (units[:, None] * size + torch.arange(size, device=units.device)).flatten()
    return found


def unread(layout: Layout, kept: Mapping[tuple[str, int], Tensor]) -> bool:
    """Whether some axis is none that a linear layer sums over."""
    places = ((axis, layer) for slot in layout.values() for axis in slot.rule.axes for layer in range(len(slot.names)))
    return any(place not in kept for place in places if place[0] != FIXED and not place[0].startswith(STREAM))


@dataclass(frozen=True)
class Cut:
    """How the channels of a wide network become those of a narrow one.

    Attributes:
        bases: of every stream, ``(narrow, wide)``, by the name of its axis.
        kept: the entries kept of every other axis that sizes change, by axis name and layer.
    """

    bases: Mapping[str, Tensor]
    kept: Mapping[tuple[str, int], Tensor]

    def __call__(self, weights: Tensor, slot: Slot) -> Tensor:
        """Cut a slot's stacked weights along all their axes."""
        layers = [self.along(part, slot.rule.axes, layer, first=1) for layer, part in enumerate(weights.unbind(0))]
        return torch.stack(layers)

    def along(self, x: Tensor, axes: Iterable[str], layer: int, first: int = 0) -> Tensor:
        """Cut a tensor along the axes from ``first`` on, which have these names."""
        for dim, axis in enumerate(axes, start=first):
            if axis in self.bases:
                x = (x.movedim(dim, -1) @ self.bases[axis].T).movedim(-1, dim)
            elif axis != FIXED:
                x = x.index_select(dim, self.kept[axis, layer])
        return x


def _length(layout: Layout, axis: str) -> int:
    return next(slot.part[slot.rule.axes.index(axis)] for slot in layout.values() if axis in slot.rule.axes)
