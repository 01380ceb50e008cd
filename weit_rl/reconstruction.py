"""A narrower network that does what a wider one does, layer by layer and in closed form.

Cutting channels off leaves every later layer with inputs that nothing was trained for. Here the narrow network's stream
is a projection of the wide one's on its principal directions (as SliceGPT, arXiv 2401.15024, rotates before it cuts),
heads and hidden channels are those that add most to the stream, and every linear layer is then fitted by ridge
regression: from what the narrow network, as fitted so far, feeds into it, to what the wide one puts out. What earlier
layers left wrong in the stream, later ones are asked to mend. Where convolutions read the stream, or it is modulated
from outside, its channels mean something each (a ReLU, a kernel, a scale of their own), so the narrow one has some of
them instead, those that tell most of the others. It takes one forward pass of each network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.activations import CONVOLUTIONS, Record, can_be_fitted, channels, patches, tokens, watched
from weit_rl.plan import FIXED, HEADS, STREAM, Layout, Plan, Slot, stack, unstack
from weit_rl.regression import channelwise, mended, pivots, principal, ridge, selection
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
        seen cannot be cut well.
    """
    wide, narrow = plan.layout(source), plan.layout(target)
    with eval_mode(source), eval_mode(target):
        seen = Record(source, run)
        bases = bases_of(source, wide, narrow, seen)
        kept = chosen(source, wide, narrow, seen, head_dim)
        if bases is None or unread(wide, kept):
            return False
        cut = Cut(bases, kept)
        weights = stack({name: p.detach() for name, p in source.named_parameters()}, wide)
        buffers = {name: b for name, b in source.named_buffers() if b.shape == target.get_buffer(name).shape}
        parameters = unstack({key: cut(weights[key], slot) for key, slot in wide.items()}, narrow)
        target.load_state_dict(target.state_dict() | buffers | parameters)
        fit = Fit(target, narrow, seen, cut)
        with watched(target, fit.ways, before=fit):
            run(target)
    return True


@dataclass(frozen=True)
class Cut:
    """How the wide network's channels become the narrow one's.

    Attributes:
        bases: of every stream, ``(narrow, wide)``, by the name of its axis.
        kept: entries of every other axis that sizes change, by slot axis name and layer.
    """

    bases: Mapping[str, Tensor]
    kept: Mapping[tuple[str, int], Tensor]

    def __call__(self, weights: Tensor, slot: Slot) -> Tensor:
        """A slot's stacked weights, cut along all their axes."""
        layers = [self.along(part, slot.rule.axes, layer, first=1) for layer, part in enumerate(weights.unbind(0))]
        return torch.stack(layers)

    def along(self, x: Tensor, axes: Iterable[str], layer: int, first: int = 0) -> Tensor:
        """A tensor whose axes from ``first`` on have these names."""
        for dim, axis in enumerate(axes, start=first):
            if axis in self.bases:
                x = (x.movedim(dim, -1) @ self.bases[axis].T).movedim(-1, dim)
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
        self.seen, self.cut = seen, cut
        self.linears, self.norms, self.singles = linears(net, layout), norms(net, layout), depthwise(net, layout)
        self.error: Tensor | None = None  # what is wrong in the stream as far as it is known
        ways = {**dict.fromkeys(self.norms, self.norm), **dict.fromkeys(self.linears, self.linear)}
        ways |= dict.fromkeys(self.singles, self.single)
        self.ways = {name: way for name, way in ways.items() if name in seen.inputs}

    def __call__(self, name: str, module: Any, x: Tensor) -> None:
        """Set one of :attr:`ways`, which is about to compute."""
        self.ways[name](name, module, x)

    def norm(self, name: str, module: Any, x: Tensor) -> None:
        """A LayerNorm in front of a linear layer only normalises; any other one meets the wide one's output."""
        if module.weight is None:
            return  # modulated from outside; what its block adds is, too, so that it cannot mend
        x, basis = tokens(x, channels(module)), self.cut.bases[self.norms[name]]
        if not self.singles:
            self.error = self.seen.inputs[name] @ basis.T - x
        scale, shift = torch.ones_like(module.weight), torch.zeros_like(module.weight)
        if not self.seen.is_read(name):
            scale, shift = channelwise(F.layer_norm(x, x.shape[-1:]), self.seen.outputs[name] @ basis.T)
        put(module, scale, shift)

    def single(self, name: str, module: Any, x: Tensor) -> None:
        """A convolution of every channel by itself stays; it reads the stream, and tells what is wrong in it."""
        self.error = self.seen.inputs[name] @ self.cut.bases[self.singles[name]].T - tokens(x, 1)

    def linear(self, name: str, module: Any, x: Tensor) -> None:
        """A linear layer meets the wide one's output; one of a block that adds to the stream mends it, too."""
        slot, layer = self.linears[name]
        x, axis = patches(module, x), slot.rule.axes[0]
        parts = self.seen.outputs[name].unflatten(-1, (slot.rule.split, -1))
        wanted = self.cut.along(parts, (axis,), layer, first=2).flatten(1)
        error = self.error if axis in self.cut.bases and slot.stacked else None
        wanted = wanted if error is None else wanted + error
        weight, bias = fitted(module, x, wanted)
        put(module, weight, bias)
        if error is not None:
            self.error = wanted - x @ weight.T - bias


def fitted(module: Any, x: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """``(out, in)`` weight and bias of a layer that make ``wanted`` of its patches.

    The kernel of a convolution stays what it was where there are too few of them to tell.
    """
    if isinstance(module, CONVOLUTIONS):
        return mended(x, wanted, module.weight.flatten(1), module.bias)
    return ridge(x, wanted, module.bias is not None)


def put(module: Any, weight: Tensor, bias: Tensor) -> None:
    """Set the weight of a module, and its bias if it has one."""
    module.weight.copy_(weight.view_as(module.weight))
    if module.bias is not None:
        module.bias.copy_(bias)


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


def bases_of(source: nn.Module, wide: Layout, narrow: Layout, seen: Record) -> dict[str, Tensor] | None:
    """What the narrow streams are made of, by axis; None where there is none, or no LayerNorm reads it."""
    found, read = {}, norms(source, wide)
    modules = [source.get_submodule(name) for name in (*read, *linears(source, wide), *depthwise(source, wide))]
    turns = not any(isinstance(module, CONVOLUTIONS) or module.weight is None for module in modules)
    for axis in {axis for slot in wide.values() for axis in slot.rule.axes if axis.startswith(STREAM)}:
        streams = [seen.inputs[name] for name, own in read.items() if own == axis and name in seen.inputs]
        if not streams:
            return None
        found[axis] = (principal if turns else selection)(streams, _length(narrow, axis))
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


def _length(layout: Layout, axis: str) -> int:
    return next(slot.part[slot.rule.axes.index(axis)] for slot in layout.values() if axis in slot.rule.axes)
