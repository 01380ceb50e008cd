"""Factors of one network: its scalers and free parameters with the templates of a bank, and the weights they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from weit_rl.core.bank import TemplateBank
from weit_rl.core.parameter_map import Parameters
from weit_rl.core.plan import Layout, Slot, named


class Factors:
    """What a network's weights are made of.

    Args:
        bank: the templates.
        layout: of the network.
        scalers: by slot, ``(layers, split, N, *grid)``.
        free: by slot, the parameters that are not composed, ``(layers, split, *shape)``.
    """

    def __init__(self, bank: TemplateBank, layout: Layout, scalers: Parameters, free: Parameters):
        self.bank, self.layout, self.scalers, self.free = bank, layout, scalers, free
        self._places = {name: (key, k) for key, slot in layout.items() for k, name in enumerate(slot.names)}

    def stacked(self) -> dict[str, Tensor]:
        """Every slot's weights, ``(layers, split, *part)``."""
        made = dict(zip(self.scalers, self.bank.constraint.stacked(*self._of(self.scalers)), strict=True))
        return {key: made[key] if key in made else self.free[key] for key in self.layout}

    def by_name(self) -> dict[str, Tensor]:
        """Every parameter by its own name; a tied one has all its names."""
        made = dict(zip(self.scalers, self.bank.constraint.by_layer(*self._of(self.scalers)), strict=True))
        free = {key: own.reshape(-1, *self.layout[key].shape).unbind(0) for key, own in self.free.items()}
        return named({**made, **free}, self.layout)

    def one(self, name: str) -> Tensor:
        """A single parameter, by the first of its names."""
        key, layer = self._places[name]
        slot = self.layout[key]
        if key in self.free:
            return self.free[key][layer].reshape(slot.shape)
        own, shared, _ = self._of({key: self.scalers[key][layer : layer + 1]})
        return self.bank.constraint.by_layer(own, shared, [replace(slot, names=(name,))])[0][0]

    def _of(self, scalers: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor], list[Slot]]:
        """Own factors, shared ones and slots of what is composed, in the order of ``scalers``."""
        slots = [self.layout[key] for key in scalers]
        shared = [self.bank.template(slot.rule.role, slot.rule.tile or ()) for slot in slots]
        return list(scalers.values()), shared, slots
