"""How the layers of a narrow network are fitted to those of a wide one, each from the input that it is given.

A fit is called with the layer, its input and the error of the stream so far: what the wide network's stream has, in the
narrow one's channels, minus what the narrow network's stream has. It returns the error for the layers behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.core.plan import Layout, Slot
from weit_rl.fitting.layer_inputs import CONVOLUTIONS, Record, channels, patches, tokens
from weit_rl.fitting.least_squares import channelwise, ridge, ridge_near
from weit_rl.fitting.width_reduction import Cut, depthwise, linears, norms

LayerFit = Callable[[Any, Tensor, Tensor | None], Tensor | None]  # (layer, its input, error before) -> error after


@dataclass(frozen=True)
class WideNetwork:
    """The activations of a wide network on the sample, in the channels of the narrow one.

    Attributes:
        seen: inputs and outputs of its layers.
        cut: from its channels to those of the narrow network.
    """

    seen: Record
    cut: Cut

    def stream_into(self, name: str, axis: str) -> Tensor:
        """Project the input of a layer that reads a stream; ``(tokens, narrow)``."""
        return self.seen.inputs[name] @ self.cut.bases[axis].T

    def stream_out_of(self, name: str, axis: str) -> Tensor:
        """Project the output of a layer that writes a stream; ``(tokens, narrow)``."""
        return self.seen.outputs[name] @ self.cut.bases[axis].T

    def outputs(self, name: str, slot: Slot, layer: int) -> Tensor:
        """Cut the output of a linear layer, whose fused parts are cut alike; ``(tokens, narrow)``."""
        parts = self.seen.outputs[name].unflatten(-1, (slot.rule.split, -1))
        return self.cut.along(parts, slot.rule.axes[:1], layer, first=2).flatten(1)


def layer_fits(net: nn.Module, layout: Layout, wide: WideNetwork) -> dict[str, LayerFit]:
    """Make the fit of every LayerNorm, depthwise convolution and linear layer that the wide network ran, by its name.

    The order is that of the wide network's forward pass.

    Args:
        net: the narrow network.
        layout: its layout.
        wide: the activations of the wide network on the sample.
    """
    own_kernel = depthwise(net, layout)
    fits: dict[str, LayerFit] = {}
    for name, axis in norms(net, layout).items():
        fits[name] = partial(fit_norm, name, axis, wide, not own_kernel)
    for name, (slot, layer) in linears(net, layout).items():
        fits[name] = partial(fit_linear, name, slot, layer, wide)
    for name, axis in own_kernel.items():
        fits[name] = partial(keep_depthwise, name, axis, wide)
    return {name: fits[name] for name in wide.seen.inputs if name in fits}


def fit_norm(
    name: str, axis: str, wide: WideNetwork, measures: bool, module: Any, x: Tensor, error: Tensor | None
) -> Tensor | None:
    """Fit scale and shift of a LayerNorm, or reset them to 1 and 0 if a linear layer reads its output.

    A LayerNorm without parameters is modulated from outside. What its block adds to the stream is modulated too, so the
    block cannot correct an error.

    Args:
        name: of the layer.
        axis: the stream that it reads.
        wide: the activations of the wide network.
        measures: whether the error is measured here; else depthwise convolutions, which read the stream, measure it.
        module: the layer.
        x: its input.
        error: of the stream before it.

    Returns:
        The error of the stream, which the layer does not change.
    """
    if module.weight is None:
        return error
    x = tokens(x, channels(module))
    if measures:
        error = wide.stream_into(name, axis) - x
    scale, shift = torch.ones_like(module.weight), torch.zeros_like(module.weight)
    if not wide.seen.is_read(name):
        scale, shift = channelwise(F.layer_norm(x, x.shape[-1:]), wide.stream_out_of(name, axis))
    set_parameters(module, scale, shift)
    return error


def keep_depthwise(
    name: str, axis: str, wide: WideNetwork, module: Any, x: Tensor, error: Tensor | None
) -> Tensor | None:
    """Leave a depthwise convolution as it was cut, and measure the error of the stream that it reads."""
    return wide.stream_into(name, axis) - tokens(x, 1)


def fit_linear(
    name: str, slot: Slot, layer: int, wide: WideNetwork, module: Any, x: Tensor, error: Tensor | None
) -> Tensor | None:
    """Fit a linear layer or convolution to the wide one's output.

    A layer that ends a block adds to the stream, so the error of the stream is part of what it is fitted to.

    Args:
        name: of the layer.
        slot: of its weight.
        layer: its place in the slot.
        wide: the activations of the wide network.
        module: the layer.
        x: its input.
        error: of the stream before it.

    Returns:
        The error that is left in the stream.
    """
    x, wanted = patches(module, x), wide.outputs(name, slot, layer)
    corrects = error is not None and slot.rule.axes[0] in wide.cut.bases and slot.stacked
    if error is not None and corrects:
        wanted = wanted + error
    weight, bias = _regression(module, x, wanted)
    set_parameters(module, weight, bias)
    return wanted - x @ weight.T - bias if corrects else error


def _regression(module: Any, x: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ``(out, in)`` weight and the bias of a layer that predict ``wanted`` from its patches.

    The kernel of a convolution changes little where there are too few patches to determine it.
    """
    if isinstance(module, CONVOLUTIONS):
        return ridge_near(x, wanted, module.weight.flatten(1), module.bias)
    return ridge(x, wanted, module.bias is not None)


def set_parameters(module: Any, weight: Tensor, bias: Tensor) -> None:
    """Set the weight of a layer, and its bias if it has one."""
    module.weight.copy_(weight.view_as(module.weight))
    if module.bias is not None:
        module.bias.copy_(bias)
