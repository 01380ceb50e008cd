"""Choose what a narrower network keeps of a wide one: directions or channels of streams, heads, hidden channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weit_rl.core.plan import FIXED, HEADS, STREAM, Layout, Slot
from weit_rl.fitting.layer_inputs import CONVOLUTIONS, Record, can_be_fitted
from weit_rl.fitting.least_squares import pivots, principal, selection

Basis = Callable[[Iterable[Tensor], int], Tensor]  # (stream where it is read, narrow width) -> (narrow, wide)


def linears(net: nn.Module, layout: Layout) -> dict[str, tuple[Slot, int]]:
    """Find the linear layers and convolutions that can be fitted; return their slots and layers by module name."""
    found = {}
    for slot in layout.values():
        for layer, name in enumerate(slot.names):
            module = name.rpartition(".")[0]
            if slot.rule.fan_in == 1 and can_be_fitted(net.get_submodule(module)):
                found[module] = (slot, layer)
    return found


def norms(net: nn.Module, layout: Layout) -> dict[str, str]:
    """Find the LayerNorms over a stream; return the stream's axis by module name.

    A LayerNorm without parameters counts as one over the main stream.
    """
    axes = {
        name.rpartition(".")[0]: s.rule.axes[0] for s in layout.values() if len(s.rule.axes) == 1 for name in s.names
    }
    found = {name: module for name, module in net.named_modules() if isinstance(module, nn.LayerNorm)}
    named = {name: STREAM if found[name].weight is None else axes.get(name, "") for name in found}
    return {name: axis for name, axis in named.items() if axis.startswith(STREAM)}


def depthwise(net: nn.Module, layout: Layout) -> dict[str, str]:
    """Find the depthwise convolutions over a stream; return the stream's axis by module name."""
    found = {}
    for slot in layout.values():
        for module in (name.rpartition(".")[0] for name in slot.names):
            convolves = len(slot.rule.axes) > 2 and slot.rule.axes[1] == FIXED and slot.stacked
            if convolves and slot.rule.axes[0].startswith(STREAM):
                found[module] = slot.rule.axes[0]
    return found


def bases_to_try(net: nn.Module, layout: Layout) -> tuple[Basis, ...]:
    """Return the bases that a narrow stream may have in the family of a network; their losses decide between them.

    Linear layers can read directions. Depthwise convolutions need channels, since each channel has its own kernel.
    Other convolutions and modulated layers may come after a ReLU or a scale per channel, so both bases are tried.
    """
    modules = [net.get_submodule(name) for name in (*norms(net, layout), *linears(net, layout))]
    if depthwise(net, layout):
        return (selection,)
    if any(isinstance(module, CONVOLUTIONS) or module.weight is None for module in modules):
        return principal, selection
    return (principal,)


def bases_of(source: nn.Module, wide: Layout, narrow: Layout, seen: Record, basis: Basis) -> dict[str, Tensor] | None:
    """Make the basis of every narrow stream by axis; return None without streams, or if no LayerNorm reads one."""
    found, read = {}, norms(source, wide)
    for axis in {axis for slot in wide.values() for axis in slot.rule.axes if axis.startswith(STREAM)}:
        streams = [seen.inputs[name] for name, own in read.items() if own == axis and name in seen.inputs]
        if not streams:
            return None
        found[axis] = basis(streams, _length(narrow, axis))
    return found or None


def kept_entries(
    source: nn.Module, wide: Layout, narrow: Layout, seen: Record, head_dim: int
) -> dict[tuple[str, int], Tensor]:
    """Choose the heads and hidden channels that stay; return their entries in order, by axis and layer."""
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


def has_unread_axis(layout: Layout, kept: Mapping[tuple[str, int], Tensor]) -> bool:
    """Return True if there is an axis, besides streams, that no linear layer sums over."""
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
