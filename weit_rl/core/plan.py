"""Plans: which parameters of a network are composed from templates, and what their axes mean.

A :class:`Plan` is an ordered list of :class:`Rule`; the first rule whose pattern matches a parameter's name applies.
Parameters that differ only in their layer form one :class:`Slot`. A slot's tensor is stacked,
``(layers, split, *part)``, where ``part`` is one parameter with its fused parts taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.core.rules import FIXED, HEAD, HEADS, LAYER, STREAM, Layout, Rule, Slot
from weit_rl.core.unready_networks import refuse_unready

__all__ = ["FIXED", "HEAD", "HEADS", "LAYER", "STREAM", "Layout", "Plan", "Rule", "Slot"]


@dataclass(frozen=True)
class Plan:
    """An ordered list of rules that covers every parameter of a family of networks."""

    rules: tuple[Rule, ...]

    def layout(self, net: nn.Module) -> dict[str, Slot]:
        """Return the slots of a network, by name.

        A tied parameter belongs to one slot, under the first of its names.

        Raises:
            UserError: naming the parameter that no rule matches, or whose axes its rule does not fit.
        """
        refuse_unready(net)
        groups: dict[str, list[tuple[int, str, Tensor]]] = {}
        rules: dict[str, tuple[Rule, bool]] = {}
        for name, parameter in net.named_parameters():
            rule, match = self._match(name)
            _check(name, parameter, rule)
            has_layer = match.groupdict().get("layer") is not None
            starred = name[: match.start("layer")] + "*" + name[match.end("layer") :] if has_layer else name
            key = rule.slot or starred
            groups.setdefault(key, []).append((int(match["layer"]) if has_layer else 0, name, parameter))
            rules[key] = (rule, has_layer)
        ties = _find_ties(net)
        return {key: _make_slot(key, *rules[key], members, ties) for key, members in groups.items()}

    def tiles(self) -> dict[str, tuple[tuple[int, ...], float]]:
        """Return the tile, and the standard deviation of fresh templates, of every composed role."""
        return {rule.role: (rule.tile, rule.std) for rule in self.rules if rule.tile is not None}

    def with_tiles(self, tiles: Mapping[str, tuple[int, ...]]) -> Plan:
        """Return this plan with the tiles of some composed roles replaced."""
        rules = (
            rule if rule.tile is None else replace(rule, tile=tiles.get(rule.role, rule.tile)) for rule in self.rules
        )
        return Plan(tuple(rules))

    def whole(self, net: nn.Module) -> Plan:
        """Return this plan with tiles as large as a role's weights in ``net`` (the longest along each axis)."""
        tiles: dict[str, tuple[int, ...]] = {}
        for slot in self.layout(net).values():
            if slot.rule.tile is not None:
                tiles[slot.rule.role] = tuple(map(max, slot.part, tiles.get(slot.rule.role, slot.part)))
        return self.with_tiles(tiles)

    @classmethod
    def infer(cls, net: nn.Module, tile: int = 32, rules: tuple[Rule, ...] = (), by_position: bool = False) -> Plan:
        """Make a plan for any network from the types and shapes of its modules.

        Equal blocks of a list share their roles, whatever their number, so the plans of two sizes of a family have the
        same roles. An axis shorter than one tile is fixed, so choose a tile that fits into the smallest size.

        Args:
            net: the network; its linear and convolution weights of at least one tile are composed.
            tile: edge of a template (default 32); kernel axes stay whole.
            rules: rules of your own, tried first (default: none).
            by_position: give the blocks of a list roles of their own unless all are equal (default False). Older banks
                of networks such as ResNet have such roles.

        Raises:
            UserError: naming all parameters whose axes are ambiguous, with a rule to copy for each.
        """
        from weit_rl.core.plan_inference import infer_rules

        return cls((*rules, *infer_rules(net, tile, cls(rules).covers, by_position)))

    def covers(self, name: str) -> bool:
        """Return True if a rule matches this parameter's name."""
        return any(re.fullmatch(rule.pattern, name) for rule in self.rules)

    def _match(self, name: str) -> tuple[Rule, re.Match[str]]:
        for rule in self.rules:
            if match := re.fullmatch(rule.pattern, name):
                return rule, match
        raise UserError(
            f"parameter {name}: no rule of the plan matches; infer this network's plan, or add Rule(...) for it"
        )


def _find_ties(net: nn.Module) -> list[tuple[str, str]]:
    """Return every further name of a parameter, with its first name."""
    firsts: dict[int, str] = {}
    every = net.named_parameters(remove_duplicate=False)
    pairs = ((name, firsts.setdefault(id(parameter), name)) for name, parameter in every)
    return [(name, first) for name, first in pairs if name != first]


def _check(name: str, parameter: Tensor, rule: Rule) -> None:
    if len(rule.axes) != parameter.ndim or (rule.tile is not None and len(rule.tile) != parameter.ndim):
        raise UserError(
            f"parameter {name}: its rule names {rule.axes} and tile {rule.tile}, but it has {parameter.ndim} axes"
        )
    if parameter.ndim and parameter.shape[0] % rule.split:
        raise UserError(
            f"parameter {name}: its first axis {parameter.shape[0]} does not divide into {rule.split} fused parts"
        )


def _make_slot(
    key: str, rule: Rule, stacked: bool, members: list[tuple[int, str, Tensor]], ties: list[tuple[str, str]]
) -> Slot:
    members = sorted(members, key=lambda member: member[0])
    shapes = {tuple(parameter.shape) for _, _, parameter in members}
    if len(shapes) > 1:
        raise UserError(
            f"parameter {key}: its layers have different shapes {sorted(shapes)}; give them rules of their own"
        )
    names = tuple(name for _, name, _ in members)
    return Slot(key, rule, names, shapes.pop(), stacked, tuple(tie for tie in ties if tie[1] in names))
