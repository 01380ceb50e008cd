"""Loading of optimiser states from agents saved while composed networks listed a placeholder for each weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from weit_rl.core.composed_network import WeiT


def read_older_optimizers(policy: nn.Module) -> None:
    """Let the optimisers of a policy load such states too, by removing the numbers of placeholders."""
    for net in [module for module in policy.modules() if isinstance(module, WeiT)]:
        for part in policy.modules():
            optimizer: Any = part.__dict__.get("optimizer")
            first = None if optimizer is None else _place(optimizer, net)
            if first is not None:
                count = sum(len(slot.names) for slot in net.layout.values())
                optimizer.register_load_state_dict_pre_hook(_Renumbered(first, count))


def _place(optimizer: torch.optim.Optimizer, net: WeiT) -> int | None:
    """Return the position of the placeholders: after the bank's templates, before the network's own parameters."""
    parameters = optimizer.param_groups[0]["params"]
    own = {id(parameter) for parameter in net.own().values()}
    return next((place for place, parameter in enumerate(parameters) if id(parameter) in own), None)


class _Renumbered:
    def __init__(self, first: int, count: int):
        self.first, self.end = first, first + count

    def __call__(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any] | None:
        """Return the state in today's numbering, or None, which leaves it unchanged, if it has no placeholders."""
        now = len(optimizer.param_groups[0]["params"])
        group, *others = state["param_groups"]
        if len(group["params"]) <= now and max(state["state"], default=0) < now:
            return None
        group = {**group, "params": list(range(now))}
        moved = {self._number(number): moments for number, moments in state["state"].items()}
        return {**state, "state": moved, "param_groups": [group, *others]}

    def _number(self, number: int) -> int:
        return number if number < self.first else number - (self.end - self.first)
