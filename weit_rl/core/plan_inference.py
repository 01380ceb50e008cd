"""``Plan.infer``: rules for any network, read from the types and shapes of its modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from weit_rl.common.errors import UserError
from weit_rl.core.block_names import BlockNames, Naming
from weit_rl.core.parameter_axes import ParameterAxes, bidirectional_lengths, gated_layers, read_axes
from weit_rl.core.rules import FIXED, Rule
from weit_rl.core.unready_networks import refuse_unready

STD = 0.02  # standard deviation of fresh templates if the weight has no values or no spread


@dataclass
class AxisNames:
    """Names of axes by length: axes of one length are assumed to grow together, short ones to be fixed.

    Residual networks are built so. If yours is not, give its parameters rules of their own.

    Args:
        tile: edge of a template.
        fixed: lengths that no size changes.
        names: name of each length so far.
    """

    tile: int
    fixed: set[int] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)

    def name(self, length: int) -> str:
        """Return ``"fixed"`` below one tile, else ``"axis0"``, ``"axis1"``, ... in order of appearance."""
        short = length < self.tile or length in self.fixed
        return FIXED if short else self.names.setdefault(length, f"axis{len(self.names)}")


def infer_rules(
    net: nn.Module, tile: int, covered: Callable[[str], bool], by_position: bool = False
) -> tuple[Rule, ...]:
    """Make one rule for each kind of parameter that no given rule covers.

    Args:
        net: the network.
        tile: edge of a template.
        covered: returns True for the name of a parameter that a given rule matches.
        by_position: see :meth:`weit_rl.core.plan.Plan.infer` (default False).

    Raises:
        UserError: naming all parameters whose axes are ambiguous, with a rule to copy for each.
    """
    refuse_unready(net)
    names, axes, gated = BlockNames(net, by_position), AxisNames(tile, bidirectional_lengths(net)), gated_layers(net)
    rules: dict[str, Rule] = {}
    doubts: dict[str, str] = {}
    for name, module, parameter in _parameters(net):
        naming = names.naming(name)
        if covered(name) or naming.pattern in rules:
            continue
        found = _check_split(parameter, read_axes(name, module, parameter, gated))
        rules[naming.pattern] = _rule(naming, found, parameter, axes)
        if found.doubt:
            doubts[naming.pattern] = f"{name} {tuple(parameter.shape)} in {type(module).__name__} {found.doubt}"
    if doubts:
        raise _refusal(doubts, rules)
    return tuple(_split_roles_by_tile(list(rules.values())))


def _parameters(net: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Yield every parameter once, with its name and the module whose weight it is."""
    seen: set[int] = set()
    for module_name, module in net.named_modules():
        own = list(module.named_parameters(recurse=False))
        for leaf, parameter in own:
            owner, largest = module, max(p.numel() for _, p in own)
            if isinstance(module, ParametrizationList) and parameter.numel() == largest:  # weight_norm's direction
                owner = net.get_submodule(module_name.rpartition("parametrizations.")[0].rstrip("."))
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield f"{module_name}.{leaf}".lstrip("."), owner, parameter


def _check_split(p: Tensor, found: ParameterAxes) -> ParameterAxes:
    """Add a doubt if the first axis does not divide into the fused parts."""
    if p.ndim == 0 or p.shape[0] % found.split == 0:
        return found
    doubt = f"has {p.shape[0]} rows, which do not divide into {found.split} fused parts"
    return replace(found, split=1, channels=(False, *found.channels[1:]), doubt=doubt)


def _rule(naming: Naming, found: ParameterAxes, p: Tensor, axes: AxisNames) -> Rule:
    part = (p.shape[0] // found.split, *p.shape[1:]) if p.ndim else ()
    names = tuple(axes.name(n) if channels else FIXED for n, channels in zip(part, found.channels, strict=True))
    tile, std = _tile(found, part, axes.tile), _std(p)
    if not found.composable and tile is None:
        return Rule(naming.pattern, naming.role, None, found.split, names, slot=naming.slot)
    return Rule(naming.pattern, naming.role, tile, found.split, names, found.fan_in, std, naming.slot)


def _tile(found: ParameterAxes, part: tuple[int, ...], edge: int) -> tuple[int, ...] | None:
    """Return the tile of a composed weight; None if one does not fit into both channel axes."""
    if found.doubt and len(part) == 3 and min(part[1:]) >= edge:  # a stack of matrices, such as experts
        return (1, edge, edge)
    if not found.composable or part[0] < edge or (found.fan_in is not None and part[1] < edge):
        return None
    return (edge, edge if found.fan_in is not None else 1, *part[2:])


def _std(p: Tensor) -> float:
    return STD if p.is_meta or p.numel() < 2 or p.ndim < 2 else float(p.detach().std()) or STD


def _split_roles_by_tile(rules: list[Rule]) -> Iterator[Rule]:
    """Give blocks of one kind that have kernels of several sizes a role for each tile."""
    tiles: dict[str, set[tuple[int, ...]]] = {}
    for rule in rules:
        if rule.tile is not None:
            tiles.setdefault(rule.role, set()).add(rule.tile)
    for rule in rules:
        several = rule.tile is not None and len(tiles[rule.role]) > 1
        yield replace(rule, role=f"{rule.role}@{'x'.join(map(str, rule.tile or ()))}") if several else rule


def _refusal(doubts: dict[str, str], rules: dict[str, Rule]) -> UserError:
    """Return the error for all ambiguous parameters: one line that ends with rules to copy."""
    copied = ", ".join(_format_rule(rules[pattern]) for pattern in doubts)
    return UserError(
        f"Plan.infer: {'; '.join(doubts.values())}; pass rules such as these, in which no size changes the "
        f"axes called 'fixed': Plan.infer(net, rules=({copied},))"
    )


def _format_rule(rule: Rule) -> str:
    """Format a rule as Python code."""
    words = [rule.pattern, rule.role, rule.tile, rule.split, rule.axes, rule.fan_in]
    slot = [f"slot={rule.slot!r}"] if rule.slot else []
    return f"Rule({', '.join([*map(repr, words), *slot])})"
