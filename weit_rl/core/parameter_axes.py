"""The axes of one parameter, read from the module that owns it, its shape and its name."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import Tensor, nn

FUSED_GATES = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, *TRANSPOSED)
FUSED_NAMES = r"\b(\w*qkv|c_attn|in_proj|kv|\w*kv_proj|w12|\w*ada_?ln\w*|\w*gate_up\w*)(\.\d+)?\.(weight|bias)$"
FUSED_BY_HEAD = r"\b(query_key_value|\w*qkv_proj)\.(weight|bias)$"  # projections interleaved by head, or in sequence
BIAS_TABLES = r"(^|\.)(rel\w*_bias\w*|rel_pos\w*|attention_bias\w*)$"  # attention biases by distance and head
POSITIONS = r"(^|\.)pos(ition)?(al)?_?emb\w*$"  # one row per position


@dataclass(frozen=True)
class ParameterAxes:
    """The axes of a parameter, and whether it can be composed.

    Attributes:
        channels: for each axis, whether it counts channels, which sizes change.
        fan_in: the axis that is summed over, or None.
        split: number of fused parts along the first axis.
        composable: True if the parameter may be composed.
        doubt: why the reading is a guess, or ``""``.
    """

    channels: tuple[bool, ...]
    fan_in: int | None = None
    split: int = 1
    composable: bool = False
    doubt: str = ""


def read_axes(name: str, module: nn.Module, p: Tensor, gated: Set[int] = frozenset()) -> ParameterAxes:
    """Read the axes of a parameter; the result has a doubt if they are ambiguous.

    Args:
        name: the parameter's whole name.
        module: the module that owns it; for a parametrised weight, the module whose weight it makes.
        p: the parameter.
        gated: result of :func:`gated_layers` for the network (default: none).
    """
    if p.ndim <= 1:
        found = ParameterAxes((True,) * p.ndim)
    elif isinstance(module, nn.Embedding):
        return ParameterAxes((False, True))
    else:
        found = _layer_weight(module, p) or _free_parameter(name, p)
    return _split_fused(name, module, p, found, id(module) in gated)


def _layer_weight(module: nn.Module, p: Tensor) -> ParameterAxes | None:
    """Read the weight of a known layer; None for other parameters."""
    kernel = (False,) * (p.ndim - 2)
    if isinstance(module, CONVOLUTIONS) and p.ndim == module.weight.ndim:
        if module.groups == 1:
            return ParameterAxes((True, True, *kernel), 0 if isinstance(module, TRANSPOSED) else 1, composable=True)
        if module.groups == module.in_channels == module.out_channels:
            return ParameterAxes((True, False, *kernel), composable=True)
        return None
    if isinstance(module, nn.Linear | nn.MultiheadAttention) or _gates(module):
        return ParameterAxes((True, True), 1, composable=True) if p.ndim == 2 else None
    if _is_conv1d(module) and p.ndim == 2:
        return ParameterAxes((True, True), 0, composable=True)
    return None


def _free_parameter(name: str, p: Tensor) -> ParameterAxes:
    """Read a module's own parameter: its shape and name show channels, tokens and tables."""
    if sum(length > 1 for length in p.shape) <= 1:  # such as the scales of a layer, (C, 1, 1)
        return ParameterAxes(tuple(length > 1 for length in p.shape))
    if re.search(BIAS_TABLES, name):
        return ParameterAxes((False,) * p.ndim)
    if (p.ndim == 3 and p.shape[0] == 1) or (p.ndim == 2 and re.search(POSITIONS, name)):
        return ParameterAxes((*(False,) * (p.ndim - 1), True))
    return ParameterAxes((False,) * p.ndim, doubt="has axes whose meaning is ambiguous")


def _split_fused(name: str, module: nn.Module, p: Tensor, found: ParameterAxes, is_gated: bool) -> ParameterAxes:
    """Adjust the axes of a parameter whose output axis holds several parts."""
    leaf = name.rpartition(".")[2]
    outputs = 1 if _is_conv1d(module) and p.ndim == 2 else 0
    fixed_outputs = replace(found, channels=tuple(n and i != outputs for i, n in enumerate(found.channels)))
    if (gates := _gates(module)) and leaf != "weight_hr":
        return replace(found, split=gates)
    if isinstance(module, nn.MultiheadAttention) and leaf.startswith("in_proj"):
        return replace(found, split=3)
    fused = re.search(FUSED_NAMES, name, re.IGNORECASE)
    if _is_conv1d(module):  # its outputs are the second axis, and split divides the first
        return fixed_outputs if fused else found
    if re.search(FUSED_BY_HEAD, name, re.IGNORECASE):
        return fixed_outputs
    if not fused:
        return fixed_outputs if is_gated else found
    if isinstance(module, nn.Linear) and "qkv" in fused[0].lower() and module.out_features == 3 * module.in_features:
        return replace(found, split=3)
    return replace(fixed_outputs, doubt="looks fused, but its number of parts is ambiguous")


def _gates(module: nn.Module) -> int:
    return next((gates for kind, gates in FUSED_GATES.items() if isinstance(module, kind)), 0)


def _is_conv1d(module: nn.Module) -> bool:
    """Return True for GPT-2's linear layer, whose weight is ``(in, out)``."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def gated_layers(net: nn.Module) -> set[int]:
    """Return the ids of linear layers that make two parts side by side, as gated units do.

    The next linear layer takes half of their outputs, and no layer takes all.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    taken = {layer.in_features for layer in layers}
    pairs = ((layer, after) for layer, after in pairwise(layers) if layer.out_features not in taken)
    return {id(layer) for layer, after in pairs if layer.out_features == 2 * after.in_features}


def bidirectional_lengths(net: nn.Module) -> set[int]:
    """Return the lengths of axes that hold both directions of a recurrent layer.

    Such axes are fixed, because repeating them for a wider network would mix the directions.
    """
    layers = [m for m in net.modules() if isinstance(m, nn.RNNBase) and m.bidirectional]
    return {2 * (layer.proj_size or layer.hidden_size) for layer in layers}
