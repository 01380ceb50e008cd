"""The factors of one network (scalers, free parameters, templates of a bank), and the weights they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from weit_rl.core.bank import TemplateBank
from weit_rl.core.parameter_map import Parameters
from weit_rl.core.plan import Layout, Slot
from weit_rl.core.slot_tensors import by_parameter_name


class Factors:
    """The scalers, free parameters and templates that make a network's weights.

    Args:
        bank: the templates.
        layout: of the network.
        scalers: by slot, ``(layers, split, N, *grid)``.
        free: by slot, the parameters that are not composed, ``(layers, split, *shape)``.
    """

    def __init__(self, bank: TemplateBank, layout: Layout, scalers: Parameters, free: Parameters):
        self.bank, self.layout, self.scalers, self.free = bank, layout, scalers, free
        self._place_of = {name: (key, k) for key, slot in layout.items() for k, name in enumerate(slot.names)}

    def stacked(self) -> dict[str, Tensor]:
        """Compose the weights of every slot, ``(layers, split, *part)``."""
        made = dict(zip(self.scalers, self.bank.constraint.stacked(*self._select(self.scalers)), strict=True))
        return {key: made[key] if key in made else self.free[key] for key in self.layout}

    def by_name(self) -> dict[str, Tensor]:
        """Compose every parameter by its own name; a tied one has all its names."""
        made = dict(zip(self.scalers, self.bank.constraint.by_layer(*self._select(self.scalers)), strict=True))
        free = {key: own.reshape(-1, *self.layout[key].shape).unbind(0) for key, own in self.free.items()}
        return by_parameter_name({**made, **free}, self.layout)

    def one(self, name: str) -> Tensor:
        """Compose a single parameter, given the first of its names."""
        key, layer = self._place_of[name]
        slot = self.layout[key]
        if key in self.free:
            return self.free[key][layer].reshape(slot.shape)
        own, shared, _ = self._select({key: self.scalers[key][layer : layer + 1]})
        return self.bank.constraint.by_layer(own, shared, [replace(slot, names=(name,))])[0][0]

    def _select(self, scalers: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor], list[Slot]]:
        """Return own factors, shared factors and slots of composed weights, in the order of ``scalers``."""
        slots = [self.layout[key] for key in scalers]
        shared = [self.bank.template(slot.rule.role, slot.rule.tile or ()) for slot in slots]
        return list(scalers.values()), shared, slots
