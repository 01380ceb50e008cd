"""A narrower network that does what a wider one does, layer by layer and in closed form.

Cutting channels off leaves every later layer with inputs that nothing was trained for. Here the narrow network's stream
is a projection of the wide one's on its principal directions (as SliceGPT, arXiv 2401.15024, rotates before it cuts),
heads and hidden channels are those that add most to the stream, and every linear layer is then fitted by ridge
regression: from what the narrow network, as fitted so far, feeds into it, to what the wide one puts out. What earlier
layers left wrong in the stream, later ones are asked to mend. It takes one forward pass of each network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from weit_rl.plan import FIXED, HEADS, STREAM, Layout, Plan, Slot, stack, unstack
from weit_rl.regression import channelwise, pivots, principal, ridge
from weit_rl.weit import eval_mode


@torch.no_grad()
def reconstruct(
    source: nn.Module, target: nn.Module, plan: Plan, run: Callable[[nn.Module], Any], head_dim: int
) -> bool:
    """Fit ``target`` to a wider network of the same depth; what is neither linear nor a LayerNorm is projected only.

    Args:
        source: trained.
        target: of the same family and depth, narrower; its parameters and buffers are set.
        plan: of both.
        run: runs a network on a sample of the data, always the same; thousands of tokens.
        head_dim: channels of a head.

    Returns:
        False, and nothing done, where no LayerNorm reads the stream, or no linear layer another axis: what is not
        seen cannot be cut well. Nor can a stream be turned whose channels are convolved one by one.
    """
    wide, narrow = plan.layout(source), plan.layout(target)
    if any(slot.rule.tile and slot.rule.axes[0] == STREAM and slot.rule.fan_in is None for slot in wide.values()):
        return False
    with eval_mode(source), eval_mode(target):
        seen = Record(source, run)
        streams = [seen.inputs[name] for name in norms(source, wide) if name in seen.inputs]
        kept = chosen(source, wide, narrow, seen, head_dim)
        if not streams or unread(wide, kept):
            return False
        cut = Cut(principal(streams, _length(narrow, STREAM)), kept)
        weights = stack({name: p.detach() for name, p in source.named_parameters()}, wide)
        buffers = {name: b for name, b in source.named_buffers() if b.shape == target.get_buffer(name).shape}
        parameters = unstack({key: cut(weights[key], slot) for key, slot in wide.items()}, narrow)
        target.load_state_dict(target.state_dict() | buffers | parameters)
        Fit(target, narrow, seen, cut).during(run)
    return True


class Record:
    """What went into every linear layer and LayerNorm of a network, and what came out, ``(tokens, channels)`` each."""

    def __init__(self, net: nn.Module, run: Callable[[nn.Module], Any]):
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.read: set[int] = set()  # tensors that a linear layer takes as they are
        kept: list[Tensor] = []  # alive, so that no two share an identity
        self.identity: dict[str, int] = {}

        def note(name: str, module: nn.Module, args: Any, output: Tensor) -> None:
            kept.extend([args[0], output])
            self.inputs[name], self.outputs[name] = tokens(args[0]), tokens(output)
            self.identity[name] = id(output)
            if isinstance(module, nn.Linear):
                self.read.add(id(args[0]))

        hooks = [
            module.register_forward_hook(lambda m, a, o, name=name: note(name, m, a, o))
            for name, module in net.named_modules()
            if isinstance(module, nn.Linear | nn.LayerNorm)
        ]
        with removed(hooks):
            run(net)

    def is_read(self, name: str) -> bool:
        """Whether a linear layer takes the module's output as it is."""
        return self.identity[name] in self.read


@dataclass(frozen=True)
class Cut:
    """How the wide network's channels become the narrow one's.

    Attributes:
        basis: of the stream, ``(narrow, wide)``.
        kept: entries of every other axis that sizes change, by slot axis name and layer.
    """

    basis: Tensor
    kept: Mapping[tuple[str, int], Tensor]

    def __call__(self, weights: Tensor, slot: Slot) -> Tensor:
        """A slot's stacked weights, cut along all their axes."""
        layers = [self.along(part, slot.rule.axes, layer, first=1) for layer, part in enumerate(weights.unbind(0))]
        return torch.stack(layers)

    def along(self, x: Tensor, axes: Iterable[str], layer: int, first: int = 0) -> Tensor:
        """A tensor whose axes from ``first`` on have these names."""
        for dim, axis in enumerate(axes, start=first):
            if axis == STREAM:
                x = (x.movedim(dim, -1) @ self.basis.T).movedim(-1, dim)
            elif axis != FIXED:
                x = x.index_select(dim, self.kept[axis, layer])
        return x


class Fit:
    """Sets every LayerNorm and linear layer of a network when its turn comes in a forward pass.

    Args:
        net: the narrow network.
        layout: of it.
        seen: of the wide network, on the same data.
        cut: from wide to narrow.
    """

    def __init__(self, net: nn.Module, layout: Layout, seen: Record, cut: Cut):
        self.net, self.seen, self.cut = net, seen, cut
        self.linears, self.norms = linears(net, layout), norms(net, layout)
        self.error: Tensor | None = None  # what is wrong in the stream as far as it is known

    def during(self, run: Callable[[nn.Module], Any]) -> None:
        """Fit everything in one forward pass."""
        ways = {**dict.fromkeys(self.norms, self.norm), **dict.fromkeys(self.linears, self.linear)}
        hooks = [
            self.net.get_submodule(name).register_forward_pre_hook(lambda m, a, name=name, way=way: way(name, m, a))
            for name, way in ways.items()
            if name in self.seen.inputs
        ]
        with removed(hooks):
            run(self.net)

    def norm(self, name: str, module: Any, args: Any) -> None:
        """A LayerNorm in front of a linear layer only normalises; any other one meets the wide one's output."""
        x = tokens(args[0])
        self.error = self.seen.inputs[name] @ self.cut.basis.T - x
        scale, shift = torch.ones_like(module.weight), torch.zeros_like(module.weight)
        if not self.seen.is_read(name):
            scale, shift = channelwise(F.layer_norm(x, x.shape[-1:]), self.seen.outputs[name] @ self.cut.basis.T)
        put(module, scale, shift)

    def linear(self, name: str, module: Any, args: Any) -> None:
        """A linear layer meets the wide one's output; one of a block that adds to the stream mends it, too."""
        slot, layer = self.linears[name]
        x, axis = tokens(args[0]), slot.rule.axes[0]
        parts = self.seen.outputs[name].unflatten(-1, (slot.rule.split, -1))
        wanted = self.cut.along(parts, (axis,), layer, first=2).flatten(1)
        if axis != STREAM or not slot.stacked or self.error is None:
            put(module, *ridge(x, wanted, module.bias is not None))
            return
        wanted = wanted + self.error
        put(module, *ridge(x, wanted, module.bias is not None))
        self.error = wanted - module.forward(x)


@contextmanager
def removed(hooks: Iterable[RemovableHandle]) -> Iterator[None]:
    """Takes hooks off again."""
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def put(module: Any, weight: Tensor, bias: Tensor) -> None:
    """Set the weight of a module, and its bias if it has one."""
    module.weight.copy_(weight)
    if module.bias is not None:
        module.bias.copy_(bias)


def linears(net: nn.Module, layout: Layout) -> dict[str, tuple[Slot, int]]:
    """Slot and layer of every linear layer whose weight is summed over an axis, by the module's name."""
    found = {}
    for slot in layout.values():
        for layer, name in enumerate(slot.names):
            module = name.rpartition(".")[0]
            if slot.rule.fan_in == 1 and type(net.get_submodule(module)) is nn.Linear:
                found[module] = (slot, layer)
    return found


def norms(net: nn.Module, layout: Layout) -> list[str]:
    """The LayerNorms over the stream, by name."""
    names = {name.rpartition(".")[0] for slot in layout.values() if slot.rule.axes == (STREAM,) for name in slot.names}
    return [name for name, module in net.named_modules() if name in names and isinstance(module, nn.LayerNorm)]


def chosen(
    source: nn.Module, wide: Layout, narrow: Layout, seen: Record, head_dim: int
) -> dict[tuple[str, int], Tensor]:
    """The heads and hidden channels that stay, in their order, by axis and layer."""
    found = {}
    for name, (slot, layer) in linears(source, wide).items():
        axis = slot.rule.axes[1]
        if axis in (STREAM, FIXED):
            continue
        size = head_dim if axis == HEADS else 1
        weight = source.get_parameter(f"{name}.weight")
        moved = ((seen.inputs[name] - seen.inputs[name].mean(0)) * weight.norm(dim=0)).double()
        units = pivots(moved.T @ moved, size, _length(narrow, axis) // size)
        found[axis, layer] = (units[:, None] * size + torch.arange(size, device=units.device)).flatten()
    return found


def unread(layout: Layout, kept: Mapping[tuple[str, int], Tensor]) -> bool:
    """Whether some axis is none that a linear layer sums over."""
    places = ((axis, layer) for slot in layout.values() for axis in slot.rule.axes for layer in range(len(slot.names)))
    return any(place not in kept for place in places if place[0] not in (STREAM, FIXED))


def tokens(x: Tensor) -> Tensor:
    """All leading axes in one."""
    return x.flatten(0, -2)


def _length(layout: Layout, axis: str) -> int:
    return next(slot.part[slot.rule.axes.index(axis)] for slot in layout.values() if axis in slot.rule.axes)
