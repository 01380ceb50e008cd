"""A narrower network that does what a wider one does, layer by layer and in closed form.

Cutting channels off leaves every later layer with inputs that nothing was trained for. Here the narrow network's stream
is a projection of the wide one's on its principal directions (as SliceGPT, arXiv 2401.15024, rotates before it cuts),
heads and hidden channels are those that add most to the stream, and every linear layer is then fitted by ridge
regression: from what the narrow network, as fitted so far, feeds into it, to what the wide one puts out. What earlier
layers left wrong in the stream, later ones are asked to mend. Where a channel of the stream means something by itself
(it goes through a ReLU, a kernel or a scale of its own), the narrow one has some of the channels instead, those that
tell most of the others. It takes one forward pass of each network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.core.composed_network import eval_mode
from weit_rl.core.plan import FIXED, Layout, Plan, Slot, stack, unstack
from weit_rl.fitting.layer_inputs import CONVOLUTIONS, Record, channels, patches, tokens, watched
from weit_rl.fitting.least_squares import channelwise, mended, principal, ridge
from weit_rl.fitting.width_reduction import Basis, bases_of, chosen, depthwise, linears, norms, unread


@torch.no_grad()
def reconstruct(
    source: nn.Module,
    target: nn.Module,
    plan: Plan,
    run: Callable[[nn.Module], Any],
    head_dim: int,
    basis: Basis = principal,
) -> bool:
    """Fit ``target`` to a wider network of the same depth; what is neither linear nor a LayerNorm is projected only.

    Args:
        source: trained.
        target: of the same family and depth, narrower; its parameters and buffers are set.
        plan: of both.
        run: runs a network on a sample of the data, always the same; thousands of tokens.
        head_dim: channels of a head.
        basis: of the narrow stream, ``principal`` (default) or ``selection``.

    Returns:
        False, and nothing done, where no LayerNorm reads the stream, or no linear layer another axis: what is not
        seen cannot be cut well.
    """
    wide, narrow = plan.layout(source), plan.layout(target)
    with eval_mode(source), eval_mode(target):
        seen = Record(source, run)
        bases = bases_of(source, wide, narrow, seen, basis)
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
