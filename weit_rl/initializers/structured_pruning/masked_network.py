"""A network that runs with masks on its channels, heads, neurons and blocks.

A mask acts where its axis is read: on the weights that sum over the axis, and on the statistics of a LayerNorm over it.
A masked block passes its input on. So with masks of 0 and 1 the masked network computes exactly what the sliced one
does, and masks in between change the function gradually.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.core.plan import Layout, Plan
from weit_rl.core.shared_axes import Axis, axes_of, blocks_of
from weit_rl.core.skeleton import hold_weights, skeleton
from weit_rl.core.slot_tensors import unstack


class MaskedLayerNorm(nn.LayerNorm):
    """A LayerNorm whose mean and variance weigh every entry by its mask, the buffer ``keep``.

    Args:
        norm: the LayerNorm whose parameters it takes, over the last axis or the norm's ``channel_dim``.
    """

    keep: Tensor

    def __init__(self, norm: nn.LayerNorm):
        super().__init__(list(norm.normalized_shape), norm.eps, norm.elementwise_affine, norm.bias is not None)
        self.weight, self.bias = norm.weight, norm.bias
        self.channel_dim: int = getattr(norm, "channel_dim", -1)
        self.register_buffer("keep", torch.ones(self.normalized_shape))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``; the outputs of entries whose mask is 0 are meaningless, and no weight reads them."""
        x, share = x.movedim(self.channel_dim, -1), self.keep / self.keep.sum()
        centred = x - (x * share).sum(-1, keepdim=True)
        x = centred * torch.rsqrt((centred**2 * share).sum(-1, keepdim=True) + self.eps)
        x = x if self.weight is None else x * self.weight
        return (x if self.bias is None else x + self.bias).movedim(-1, self.channel_dim)


class MaskedNetwork:
    """A network with masks on its axes and blocks.

    A mask is named after its axis (``"stream"``, ``(1, entries)``, or ``"blocks.heads"``, ``(layers, entries)``) or its
    list of blocks (``"blocks."``, ``(1, layers)``). An axis or list without a mask is kept whole.

    Args:
        net: a network of the shapes and buffers. Its blocks take the stream as first argument and return only the
            stream. A module other than a LayerNorm that computes statistics over an axis has a method ``masked()``,
            which returns a module with a buffer ``keep``.
        plan: the plan of ``net``. The axis of a LayerNorm is that of its parameters. Without parameters it is the axis
            of the whole network that has its length.

    Attributes:
        net: a copy without weights.
        layout: the layout of ``net``.
        axes: the axes of ``net``, by slot.
    """

    def __init__(self, net: nn.Module, plan: Plan):
        self.net, self.layout = copy.deepcopy(net), plan.layout(net)
        self.axes = axes_of(self.layout)
        self._norms = dict(self._masked_norms())
        self._blocks = dict(self._masked_blocks())
        device = next(net.parameters()).device
        for name in (*self._norms, *self._blocks):
            module = self.net.get_submodule(name.rpartition(".")[0])
            module.keep = module.get_buffer("keep").to(device)
        self.net = skeleton(self.net)

    def run(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Any:
        """Return a callable that runs the network with these stacked weights and masks."""
        tensors = unstack(self.masked(weights, masks), self.layout)
        for buffer, (key, row) in self._norms.items():
            if key in masks:
                tensors[buffer] = masks[key][row]
        for buffer, (key, row) in self._blocks.items():
            if key in masks:
                tensors[buffer] = masks[key][0, row]

        def run(*args: Any, **kwargs: Any) -> Any:
            with hold_weights(self.net, tensors) as net:
                return net(*args, **kwargs)

        return run

    def masked(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Multiply every slot by the mask of the axis that it sums over."""
        out = dict(weights)
        for key, slot in self.layout.items():
            index = slot.rule.fan_in
            axis = None if index is None else self.axes[key][index]
            if index is not None and axis is not None and axis.key in masks:
                out[key] = weights[key] * along(masks[axis.key], weights[key].ndim, index + 2)
        return out

    def _masked_norms(self) -> Any:
        """Replace every norm over a named axis; yield its buffer, the axis's key and the row of the mask."""
        for name, module in list(self.net.named_modules()):
            masked = MaskedLayerNorm(module) if isinstance(module, nn.LayerNorm) else _masked(module)
            axis, row = (None, 0) if masked is None else self._axis_of(name, module)
            if axis is not None and masked is not None:
                parent, _, leaf = name.rpartition(".")
                setattr(self.net.get_submodule(parent), leaf, masked)
                yield f"{name}.keep", (axis.key, row if axis.blocks else 0)

    def _axis_of(self, name: str, norm: Any) -> tuple[Axis | None, int]:
        for key, slot in self.layout.items():
            for row, parameter in enumerate(slot.names):
                if parameter.rpartition(".")[0] == name:
                    return self.axes[key][-1], row
        shared = (axis for axes in self.axes.values() for axis in axes if axis is not None and not axis.blocks)
        return next((axis for axis in shared if (axis.length,) == norm.normalized_shape), None), 0

    def _masked_blocks(self) -> Any:
        """Hook every block; yield its buffer, the key of its list and its index there."""
        names = {}
        for slot in self.layout.values():
            blocks = blocks_of(slot)
            for row, name in enumerate(slot.names if slot.stacked else ()):
                names[blocks + name.removeprefix(blocks).partition(".")[0]] = (blocks, row)
        for name, place in names.items():
            block = self.net.get_submodule(name)
            block.register_buffer("keep", torch.ones(()))
            block.register_forward_hook(lambda block, inputs, output: torch.lerp(inputs[0], output, block.keep))
            yield f"{name}.keep", place


def _masked(module: Any) -> nn.Module | None:
    return module.masked() if hasattr(module, "masked") else None


def slices(
    weights: Mapping[str, Tensor],
    axes: Mapping[str, tuple[Axis | None, ...]],
    target: Layout,
    kept: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Slice the stacked weights of a network to those of a smaller one.

    Args:
        weights: of the whole network, by slot.
        axes: of the whole network, by slot.
        target: the layout of the smaller network.
        kept: the indices that stay, by the names and in the shapes of masks. An axis without an entry stays whole.
    """
    left = {}
    for key, slot in target.items():
        x = weights[key]
        for dim, axis in enumerate(axes[key], start=2):
            if axis is not None and axis.key in kept:
                x = torch.take_along_dim(x, along(kept[axis.key], x.ndim, dim), dim)
        left[key] = x[kept[blocks_of(slot)][0]] if slot.stacked and blocks_of(slot) in kept else x
    return left


def along(values: Tensor, ndim: int, dim: int) -> Tensor:
    """Reshape ``(layers or 1, entries)`` to broadcast along the layers and ``dim`` of a stacked tensor."""
    shape = [1] * ndim
    shape[0], shape[dim] = values.shape
    return values.view(shape)
