"""Plan.infer: the rules of any network, read from the types and shapes of its modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from weit_rl.common.errors import UserError
from weit_rl.core.block_places import BlockPlaces, Naming
from weit_rl.core.parameter_axes import Meaning, both_ways, halved, meaning
from weit_rl.core.rules import FIXED, Rule
from weit_rl.core.unready_networks import refuse_unready

STD = 0.02  # of fresh templates where a weight does not tell


@dataclass
class Axes:
    """Names for axes by their length: axes of one length are taken to grow together, short ones to be fixed.

    Residual networks are built so; where yours is not, give the parameters rules of their own.
    """

    tile: int
    fixed: set[int] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)

    def name(self, length: int) -> str:
        """``"fixed"`` below one tile, else ``"axis0"``, ``"axis1"``, ... in order of appearance."""
        short = length < self.tile or length in self.fixed
        return FIXED if short else self.names.setdefault(length, f"axis{len(self.names)}")


def infer_rules(
    net: nn.Module, tile: int, covered: Callable[[str], bool], by_position: bool = False
) -> tuple[Rule, ...]:
    """One rule for each kind of parameter whose names are not covered by rules that are given.

    Raises:
        UserError: naming all parameters whose axes cannot be told from their modules, with a rule for each.
    """
    refuse_unready(net)
    places, axes, halves = BlockPlaces(net, by_position), Axes(tile, both_ways(net)), halved(net)
    rules: dict[str, Rule] = {}
    doubts: dict[str, str] = {}
    for name, module, parameter in _parameters(net):
        naming = places.naming(name)
        if covered(name) or naming.pattern in rules:
            continue
        found = _divided(parameter, meaning(name, module, parameter, halves))
        rules[naming.pattern] = _rule(naming, found, parameter, axes)
        if found.doubt:
            doubts[naming.pattern] = f"{name} {tuple(parameter.shape)} in {type(module).__name__} {found.doubt}"
    if doubts:
        raise _refusal(doubts, rules)
    return tuple(_of_one_tile_a_role(list(rules.values())))


def _parameters(net: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Every parameter once, with its name and the module it is a weight of."""
    seen: set[int] = set()
    for module_name, module in net.named_modules():
        own = list(module.named_parameters(recurse=False))
        for leaf, parameter in own:
            owner, largest = module, max(p.numel() for _, p in own)
            if isinstance(module, ParametrizationList) and parameter.numel() == largest:  # as weight_norm's direction
                owner = net.get_submodule(module_name.rpartition("parametrizations.")[0].rstrip("."))
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield f"{module_name}.{leaf}".lstrip("."), owner, parameter


def _divided(p: Tensor, found: Meaning) -> Meaning:
    if p.ndim == 0 or p.shape[0] % found.split == 0:
        return found
    doubt = f"has {p.shape[0]} rows, which do not divide into {found.split} fused parts"
    return replace(found, split=1, named=(False, *found.named[1:]), doubt=doubt)


def _rule(naming: Naming, found: Meaning, p: Tensor, axes: Axes) -> Rule:
    part = (p.shape[0] // found.split, *p.shape[1:]) if p.ndim else ()
    names = tuple(axes.name(n) if named else FIXED for n, named in zip(part, found.named, strict=True))
    tile, std = _tile(found, part, axes.tile), _std(p)
    if not found.weight and tile is None:
        return Rule(naming.pattern, naming.role, None, found.split, names, slot=naming.slot)
    return Rule(naming.pattern, naming.role, tile, found.split, names, found.fan_in, std, naming.slot)


def _tile(found: Meaning, part: tuple[int, ...], edge: int) -> tuple[int, ...] | None:
    """The tile of what is composed: it fits at least once into both axes of channels."""
    if found.doubt and len(part) == 3 and min(part[1:]) >= edge:  # a stack of matrices, such as those of experts
        return (1, edge, edge)
    if not found.weight or part[0] < edge or (found.fan_in is not None and part[1] < edge):
        return None
    return (edge, edge if found.fan_in is not None else 1, *part[2:])


def _std(p: Tensor) -> float:
    return STD if p.is_meta or p.numel() < 2 or p.ndim < 2 else float(p.detach().std()) or STD


def _of_one_tile_a_role(rules: list[Rule]) -> Iterator[Rule]:
    """The rules, with roles of their own where blocks of one kind have kernels of several sizes."""
    tiles: dict[str, set[tuple[int, ...]]] = {}
    for rule in rules:
        if rule.tile is not None:
            tiles.setdefault(rule.role, set()).add(rule.tile)
    for rule in rules:
        several = rule.tile is not None and len(tiles[rule.role]) > 1
        yield replace(rule, role=f"{rule.role}@{'x'.join(map(str, rule.tile or ()))}") if several else rule


def _refusal(doubts: dict[str, str], rules: dict[str, Rule]) -> UserError:
    """All that cannot be told, in one line that ends with rules to copy."""
    copied = ", ".join(_written(rules[pattern]) for pattern in doubts)
    return UserError(
        f"Plan.infer: {'; '.join(doubts.values())}; pass rules, such as these, whose axes called 'fixed' no size "
        f"changes: Plan.infer(net, rules=({copied},))"
    )


def _written(rule: Rule) -> str:
    """A rule as one writes it."""
    words = [rule.pattern, rule.role, rule.tile, rule.split, rule.axes, rule.fan_in]
    slot = [f"slot={rule.slot!r}"] if rule.slot else []
    return f"Rule({', '.join([*map(repr, words), *slot])})"
