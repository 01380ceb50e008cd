"""A narrower network that does what a wider one does, layer by layer and in closed form.

Cutting channels off leaves every later layer with inputs that nothing was trained for. Here the narrow network's stream
is a projection of the wide one's on its principal directions (as SliceGPT, arXiv 2401.15024, rotates before it cuts),
heads and hidden channels are those that add most to the stream, and every linear layer is then fitted by ridge
regression: from what the narrow network, as fitted so far, feeds into it, to what the wide one puts out. What earlier
layers left wrong in the stream, later ones are asked to mend. It takes one forward pass of each network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.plan import FIXED, HEADS, STREAM, Layout, Plan, Slot, stack, unstack
from weit_rl.weit import eval_mode

RIDGE = 1e-4  # of the mean square of the inputs


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
        False, and nothing done, where no LayerNorm reads the stream, so that it is not seen.
    """
    wide, narrow = plan.layout(source), plan.layout(target)
    with eval_mode(source), eval_mode(target):
        seen = Record(source, run)
        streams = [seen.inputs[name] for name in norms(source, wide) if name in seen.inputs]
        if not streams:
            return False
        cut = Cut(principal(streams, _length(narrow, STREAM)), chosen(source, wide, narrow, seen, head_dim))
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
        run(net)
        for hook in hooks:
            hook.remove()

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
        run(self.net)
        for hook in hooks:
            hook.remove()

    def norm(self, name: str, module: Any, args: Any) -> None:
        """A LayerNorm in front of a linear layer only normalises; any other one meets the wide one's output."""
        x = tokens(args[0])
        self.error = self.seen.inputs[name] @ self.cut.basis.T - x
        scale, shift = torch.ones_like(module.weight), torch.zeros_like(module.bias)
        if not self.seen.is_read(name):
            scale, shift = channelwise(F.layer_norm(x, x.shape[-1:]), self.seen.outputs[name] @ self.cut.basis.T)
        module.weight.copy_(scale)
        module.bias.copy_(shift)

    def linear(self, name: str, module: Any, args: Any) -> None:
        """A linear layer meets the wide one's output; one of a block that adds to the stream mends it, too."""
        slot, layer = self.linears[name]
        x, axis = tokens(args[0]), slot.rule.axes[0]
        parts = self.seen.outputs[name].unflatten(-1, (slot.rule.split, -1))
        wanted = self.cut.along(parts, (axis,), layer, first=2).flatten(1)
        mends = axis == STREAM and slot.stacked and self.error is not None
        if mends:
            wanted = wanted + self.error
        weight, bias = ridge(x, wanted, module.bias is not None)
        module.weight.copy_(weight)
        if module.bias is not None:
            module.bias.copy_(bias)
        if mends:
            self.error = wanted - module.forward(x)


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
    return [name for name, module in net.named_modules() if name in names and type(module) is nn.LayerNorm]


def principal(streams: Iterable[Tensor], width: int) -> Tensor:
    """``(width, wide)``: a basis of the directions in which the stream moves most, wherever it is read.

    A LayerNorm takes no notice of what all channels have in common. So the directions are those of the stream without
    it, one fewer than there are channels, and they are spread over the channels so that these sum to zero: then the
    narrow LayerNorm divides by what the wide one divides by, but for what is lost, and a constant.
    """
    total: Any = 0.0
    for x in streams:
        x = (x - x.mean(1, keepdim=True)).double()
        x = x - x.mean(0)
        total = total + x.T @ x / x.square().sum()
    directions = torch.linalg.eigh(total).eigenvectors[:, 1 - width :].T
    return (zero_sum(width).to(directions) @ directions).float()


def zero_sum(width: int) -> Tensor:
    """``(width, width - 1)``: an orthonormal basis (of cosines) of the vectors whose entries sum to zero."""
    place, wave = torch.arange(width).double() + 0.5, torch.arange(1, width).double()
    return math.sqrt(2 / width) * torch.cos(math.pi / width * place[:, None] * wave)


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


def pivots(square: Tensor, size: int, count: int) -> Tensor:
    """Units whose channels say most that those chosen before do not (a Cholesky factorisation by blocks, pivoted).

    Args:
        square: ``(channels, channels)``, products of the channels' sizes.
        size: channels of a unit.
        count: of how many units.

    Returns:
        ``(count,)`` in increasing order.
    """
    units: list[int] = []
    floor = RIDGE * square.diagonal().mean() * torch.eye(size).to(square)
    for _ in range(count):
        merit = square.diagonal().unflatten(0, (-1, size)).sum(1)
        merit[units] = -math.inf
        units.append(int(merit.argmax()))
        rows = square[units[-1] * size : (units[-1] + 1) * size]
        own = rows[:, units[-1] * size : (units[-1] + 1) * size]
        square = square - rows.T @ torch.linalg.solve(own + floor, rows)
    return torch.tensor(sorted(units), device=square.device)


def ridge(x: Tensor, y: Tensor, intercept: bool = True) -> tuple[Tensor, Tensor]:
    """``(out, in)`` weight and bias that predict ``y`` from ``x``, tokens along the first axis."""
    x, y = x.double(), y.double()
    x_mean, y_mean = x.mean(0) * intercept, y.mean(0) * intercept
    x, y = x - x_mean, y - y_mean
    square = x.T @ x
    square += RIDGE * square.diagonal().mean() * torch.eye(len(square)).to(square)
    weight = torch.linalg.solve(square, x.T @ y).T
    return weight.float(), (y_mean - weight @ x_mean).float()


def channelwise(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift of every channel of ``x`` that come nearest to ``y``."""
    away = x - x.mean(0)
    scale = (away * (y - y.mean(0))).sum(0) / away.square().sum(0).clamp_min(1e-12)
    return scale, y.mean(0) - scale * x.mean(0)


def tokens(x: Tensor) -> Tensor:
    """All leading axes in one."""
    return x.flatten(0, -2)


def _length(layout: Layout, axis: str) -> int:
    return next(slot.part[slot.rule.axes.index(axis)] for slot in layout.values() if axis in slot.rule.axes)
