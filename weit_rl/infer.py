"""Plan.infer: the rules of any network, read from the types and shapes of its modules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor, nn

from weit_rl.errors import UserError
from weit_rl.plan import FIXED, LAYER, Plan, Rule

FUSED_GATES = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
FUSED_NAMES = r"\b(\w*qkv|c_attn|in_proj|kv|\w*kv_proj|w12|\w*ada_?ln\w*|\w*gate_up\w*)(\.\d+)?\.(weight|bias)$"
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, *TRANSPOSED)


@dataclass
class Axes:
    """Names for axes by their length: axes of one length are taken to grow together, short ones to be fixed.

    Residual networks are built so; where yours is not, give the parameters rules of their own.
    """

    tile: int
    names: dict[int, str] = field(default_factory=dict)

    def name(self, length: int) -> str:
        """``"fixed"`` below one tile, else ``"axis0"``, ``"axis1"``, ... in order of appearance."""
        return FIXED if length < self.tile else self.names.setdefault(length, f"axis{len(self.names)}")


def infer_rules(net: nn.Module, tile: int, given: Plan) -> tuple[Rule, ...]:
    """One rule for each kind of parameter that ``given`` does not cover.

    Raises:
        UserError: naming a parameter whose axes cannot be told from its module.
    """
    blocks, axes, rules = set(block_lists(net)), Axes(tile), {}
    for module_name, module in net.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            name = f"{module_name}.{leaf}".lstrip(".")
            pattern, role = _pattern(name, blocks)
            if not given.covers(name) and pattern not in rules:
                rules[pattern] = _rule(name, pattern, role, module, parameter, axes)
    return tuple(rules.values())


def block_lists(net: nn.Module) -> Iterator[str]:
    """Names of the lists whose children all have the same parameters: their index is depth."""
    for name, module in net.named_modules():
        if isinstance(module, nn.ModuleList | nn.Sequential):
            kinds = [tuple((n, tuple(p.shape)) for n, p in child.named_parameters()) for child in module]
            if len(set(kinds)) == 1 and kinds[0]:
                yield name


def _pattern(name: str, blocks: set[str]) -> tuple[str, str]:
    """The pattern that collapses the innermost block index, and the role's name without it."""
    parts = name.split(".")
    for i in range(len(parts) - 1, 0, -1):
        if parts[i].isdigit() and ".".join(parts[:i]) in blocks:
            before, after = ".".join(parts[:i]), ".".join(parts[i + 1 :])
            return rf"{re.escape(before)}\.{LAYER}\.{re.escape(after)}", f"{before}.{after}"
    return re.escape(name), name


def _rule(name: str, pattern: str, role: str, module: nn.Module, p: Tensor, axes: Axes) -> Rule:
    split = _split(name, module, p)
    if p.ndim and p.shape[0] % split:
        raise UserError(f"Plan.infer: {name} has {p.shape[0]} rows, which do not divide into {split} fused parts")
    part = (p.shape[0] // split, *p.shape[1:]) if p.ndim else ()
    if p.ndim <= 1:
        return Rule(pattern, role, None, split, tuple(axes.name(n) for n in part))
    if isinstance(module, nn.Embedding):
        return Rule(pattern, role, None, 1, (FIXED, axes.name(part[1])))
    fan_in = _fan_in(name, module, p)
    kernel = (FIXED,) * (p.ndim - 2)
    names = (axes.name(part[0]), axes.name(part[1]) if fan_in is not None else FIXED, *kernel)
    big = part[0] >= axes.tile and (part[1] >= axes.tile or fan_in is None)
    tile = (axes.tile, axes.tile if fan_in is not None else 1, *part[2:]) if big else None
    std = float(p.detach().std()) if p.numel() > 1 else 0.0
    return Rule(pattern, role, tile, split, names, fan_in, std or 0.02)


def _split(name: str, module: nn.Module, p: Tensor) -> int:
    leaf = name.rpartition(".")[2]
    if getattr(module, "bidirectional", False):
        raise UserError(f"Plan.infer: {name} is bidirectional, two axes laid side by side; pass a rule for it")
    if type(module) in FUSED_GATES and leaf != "weight_hr":
        return FUSED_GATES[type(module)]
    if isinstance(module, nn.MultiheadAttention) and leaf.startswith("in_proj"):
        return 3
    fused = re.search(FUSED_NAMES, name, re.IGNORECASE)
    if not fused:
        return 1
    if isinstance(module, nn.Linear) and "qkv" in fused[0].lower() and module.out_features == 3 * module.in_features:
        return 3
    raise UserError(
        f"Plan.infer: {name} {tuple(p.shape)} looks fused, but into how many parts cannot be told; "
        f"pass Plan.infer(net, rules=(Rule({name!r}, role, tile, split, axes, fan_in),))"
    )


def _fan_in(name: str, module: nn.Module, p: Tensor) -> int | None:
    """The axis that is summed over; None for a depthwise convolution."""
    if isinstance(module, CONVOLUTIONS):
        if module.groups == 1:
            return 0 if isinstance(module, TRANSPOSED) else 1
        if module.groups == module.in_channels == module.out_channels:
            return None
    elif isinstance(module, nn.Linear | nn.MultiheadAttention) or type(module) in FUSED_GATES:
        return 1
    raise UserError(
        f"Plan.infer: cannot tell what the axes of {name} {tuple(p.shape)} in {type(module).__name__} mean; "
        f"pass Plan.infer(net, rules=(Rule({name!r}, role, tile, split, axes, fan_in),))"
    )
