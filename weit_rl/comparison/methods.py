"""The methods that are compared: every registered initialiser, other constraints, and behaviour cloning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weit_rl.common.registry import Registry
from weit_rl.initializers import INITIALIZERS, Initializer


@dataclass(frozen=True)
class Method:
    """A row of the comparison.

    Attributes:
        init: name of its initialiser.
        constraint: of the bank it starts from; None if it starts from a plain network, or from nothing.
        options: its own values of options of ``weit_rl.train``, by name.
        task: the only task it is for; None for all.
        ranked: True if it takes the rank of WeiT's bank as an option.
    """

    init: str
    constraint: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None
    ranked: bool = False

    @property
    def initializer(self) -> Initializer:
        """Return the initialiser that ``init`` names."""
        return INITIALIZERS.get(self.init)

    @property
    def starts_from_networks(self) -> bool:
        """Return True if its sources are plain networks."""
        return self.initializer.needs_source and self.constraint is None

    def stage(self, budget: int) -> int | None:
        """Return the steps of its own stage within a budget, or None if a stage of fixed length exceeds the budget."""
        steps = self.initializer.stage_steps
        if self.initializer.fixed_stage and steps > budget:
            return None
        return min(steps, budget)


METHODS: Registry[Method] = Registry("method")
BANKS = {
    "weit": "kronecker",
    "free_only": "kronecker",
    "supernet": "identity",
}  # initialisers that need a bank -> its constraint
for _name in INITIALIZERS.names():
    METHODS.add(_name, Method(_name, BANKS.get(_name), ranked=_name == "svd_bank"))
CUT = {"init_options": {"narrow": "cut"}}
METHODS.add("fine", Method("weit", "svd", CUT))
METHODS.add("sweet", Method("weit", "tucker", CUT))
METHODS.add("supernet_fitted", Method("supernet", "identity", {"init_options": {"narrow": "fitted"}}))
METHODS.add("bc", Method("scratch", options={"rtg": "none"}, task="control"))
METHODS.add("bc10", Method("scratch", options={"rtg": "none", "best_fraction": 0.1}, task="control"))
