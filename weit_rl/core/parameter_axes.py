"""What the axes of one parameter mean, read from the module that owns it, its shape and its name."""

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
SIDE_BY_SIDE = r"\b(query_key_value|\w*qkv_proj)\.(weight|bias)$"  # of several projections, head by head or one by one
BIAS_TABLES = r"(^|\.)(rel\w*_bias\w*|rel_pos\w*|attention_bias\w*)$"  # of attention, by distance: entries and heads
POSITIONS = r"(^|\.)pos(ition)?(al)?_?emb\w*$"  # one row for each position


@dataclass(frozen=True)
class Meaning:
    """What a parameter is.

    Attributes:
        named: for each axis, whether it is one of channels, which sizes change.
        fan_in: the axis that is summed over, or None.
        split: fused parts along the first axis.
        weight: whether it may be composed.
        doubt: why this is a guess, or ``""``.
    """

    named: tuple[bool, ...]
    fan_in: int | None = None
    split: int = 1
    weight: bool = False
    doubt: str = ""


def meaning(name: str, module: nn.Module, p: Tensor, halves: Set[int] = frozenset()) -> Meaning:
    """What a parameter of a module is; with a doubt where that cannot be told.

    Args:
        name: the parameter's whole name.
        module: the one that owns it, of a parametrised weight the one whose weight it makes.
        p: the parameter.
        halves: of :func:`halved`, for the network (default: none).
    """
    if p.ndim <= 1:
        found = Meaning((True,) * p.ndim)
    elif isinstance(module, nn.Embedding):
        return Meaning((False, True))
    else:
        found = _weight(module, p) or _free(name, p)
    return _fused(name, module, p, found, id(module) in halves)


def _weight(module: nn.Module, p: Tensor) -> Meaning | None:
    """A weight of a layer that is known."""
    kernel = (False,) * (p.ndim - 2)
    if isinstance(module, CONVOLUTIONS) and p.ndim == module.weight.ndim:
        if module.groups == 1:
            return Meaning((True, True, *kernel), 0 if isinstance(module, TRANSPOSED) else 1, weight=True)
        if module.groups == module.in_channels == module.out_channels:
            return Meaning((True, False, *kernel), weight=True)
        return None
    if isinstance(module, nn.Linear | nn.MultiheadAttention) or _gates(module):
        return Meaning((True, True), 1, weight=True) if p.ndim == 2 else None
    if _is_conv1d(module) and p.ndim == 2:
        return Meaning((True, True), 0, weight=True)
    return None


def _free(name: str, p: Tensor) -> Meaning:
    """A parameter of a module's own: channels, tokens and tables are told by their shapes and names."""
    if sum(length > 1 for length in p.shape) <= 1:  # such as a layer's scales, (C, 1, 1)
        return Meaning(tuple(length > 1 for length in p.shape))
    if re.search(BIAS_TABLES, name):
        return Meaning((False,) * p.ndim)
    if (p.ndim == 3 and p.shape[0] == 1) or (p.ndim == 2 and re.search(POSITIONS, name)):
        return Meaning((*(False,) * (p.ndim - 1), True))
    return Meaning((False,) * p.ndim, doubt="has axes that cannot be told")


def _fused(name: str, module: nn.Module, p: Tensor, found: Meaning, halved: bool) -> Meaning:
    """The same for a parameter whose axis of outputs holds several parts."""
    leaf = name.rpartition(".")[2]
    outputs = 1 if _is_conv1d(module) and p.ndim == 2 else 0
    beside = replace(found, named=tuple(n and i != outputs for i, n in enumerate(found.named)))
    if (gates := _gates(module)) and leaf != "weight_hr":
        return replace(found, split=gates)
    if isinstance(module, nn.MultiheadAttention) and leaf.startswith("in_proj"):
        return replace(found, split=3)
    fused = re.search(FUSED_NAMES, name, re.IGNORECASE)
    if _is_conv1d(module):  # its outputs are the second axis, which a split cannot take apart
        return beside if fused else found
    if re.search(SIDE_BY_SIDE, name, re.IGNORECASE):
        return beside
    if not fused:
        return beside if halved else found
    if isinstance(module, nn.Linear) and "qkv" in fused[0].lower() and module.out_features == 3 * module.in_features:
        return replace(found, split=3)
    return replace(beside, doubt="looks fused, but into how many parts cannot be told")


def _gates(module: nn.Module) -> int:
    return next((gates for kind, gates in FUSED_GATES.items() if isinstance(module, kind)), 0)


def _is_conv1d(module: nn.Module) -> bool:
    """Whether it is the layer of GPT-2, a linear one whose weight is ``(in, out)``."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def halved(net: nn.Module) -> set[int]:
    """The ids of linear layers that make two parts side by side, as gated units do.

    The next linear layer takes half of their outputs, and no layer takes all.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    taken = {layer.in_features for layer in layers}
    pairs = ((layer, after) for layer, after in pairwise(layers) if layer.out_features not in taken)
    return {id(layer) for layer, after in pairs if layer.out_features == 2 * after.in_features}


def both_ways(net: nn.Module) -> set[int]:
    """The lengths of axes that hold a recurrent layer's two directions side by side: no width may repeat them."""
    layers = [m for m in net.modules() if isinstance(m, nn.RNNBase) and m.bidirectional]
    return {2 * (layer.proj_size or layer.hidden_size) for layer in layers}
