"""The cells of a comparison: which methods, sizes, seeds and budgets there are, and in which order they are run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from weit_rl.comparison.methods import METHODS
from weit_rl.errors import UserError
from weit_rl.models import MODELS
from weit_rl.registry import unknown
from weit_rl.sizes import Size

REPORTED = ("32x3", "96x4", "160x5", "128x8")  # neither sampled in pre-training nor looked at while tuning
PROFILES: dict[str, dict[str, Any]] = {
    "core": {"sizes": REPORTED, "budgets": (0, 100, 300, 1000), "seeds": (0, 1, 2), "episodes": 10},
    "full": {
        "sizes": (*REPORTED, "192x2", "256x6", "256x8"),
        "budgets": (0, 100, 300, 1000, 3000, 10_000),
        "seeds": (0, 1, 2),
        "episodes": 20,
    },
}


@dataclass(frozen=True)
class Cell:
    """One training: a method, a size, a seed and a budget (every gradient step spent on the target)."""

    method: str
    size: str
    seed: int
    budget: int

    @property
    def name(self) -> str:
        """For files."""
        return "-".join(str(value) for value in asdict(self).values())


@dataclass(frozen=True)
class Grid:
    """What is compared with what.

    Attributes:
        env: environment.
        data: level, path, or several of them.
        methods: names in ``METHODS``.
        sizes: of the targets, names or ``WIDTHxDEPTH``.
        budgets: gradient steps.
        seeds: of pre-training, sources and targets alike.
        episodes: test episodes of a cell.
        batch_size: windows a step.
        pretrain_steps: steps of a bank; the sources of other methods get its FLOPs.
        precision: of float32 matrix products.
        data_weights: shares of the windows drawn from each of several sets; None by their numbers of steps.
        data_episodes: how many episodes there are to learn from; None for all.
        model: of every network.
    """

    env: str
    data: str | tuple[str, ...]
    methods: tuple[str, ...]
    sizes: tuple[str, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    episodes: int
    batch_size: int
    pretrain_steps: int
    precision: str = "highest"
    data_weights: tuple[float, ...] | None = None
    data_episodes: int | None = None
    model: str = "dt"

    @classmethod
    def of(cls, cfg: Any) -> Grid:
        """The grid of a config; what it leaves open is its profile's.

        Raises:
            UserError: for a name or number that is not possible.
        """
        if cfg.profile not in PROFILES:
            raise unknown("profile", cfg.profile, list(PROFILES))
        names = [field.name for field in fields(cls)]
        chosen = {**PROFILES[cfg.profile], "methods": METHODS.names()}
        chosen |= {name: cfg[name] for name in names if cfg[name] is not None}
        plain: dict[str, Any] = {
            name: value if isinstance(value, str | int) else tuple(value) for name, value in chosen.items()
        }
        grid = cls(**plain)
        grid.check()
        return replace(grid, sizes=tuple(str(Size.parse(size)) for size in grid.sizes))

    def check(self) -> None:
        """UserError for what is not possible."""
        MODELS.get(self.model)
        for method in self.methods:
            METHODS.get(method)
        for size in self.sizes:
            Size.parse(size)
        for name in ("methods", "sizes", "budgets", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UserError(f"{name}={list(values)}: give at least one, each once")
        if min(self.budgets) < 0:
            raise UserError(f"budgets={list(self.budgets)}: must be 0 or more")

    def words(self) -> list[str]:
        """Options that every run has, of a source as of a target."""
        names = ("env", "data", "data_weights", "data_episodes", "batch_size", "precision", "model")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return [f"{name}={json.dumps(v) if isinstance(v, tuple) else v}" for name, v in given.items()]

    def cells(self, seed: int) -> Iterator[Cell]:
        """The cells of a seed, short ones first; one whose budget is below its method's own stage does not exist."""
        for budget in sorted(self.budgets):
            for method in self.methods:
                if METHODS.get(method).stage(budget) is not None:
                    yield from (Cell(method, size, seed, budget) for size in self.sizes)
        if seed == self.seeds[0]:
            yield from self.ceilings(seed)

    def ceilings(self, seed: int) -> Iterator[Cell]:
        """Of a method whose own stage exceeds every budget, one cell a size."""
        for method in self.methods:
            stage = METHODS.get(method).initializer.stage_steps
            if all(METHODS.get(method).stage(budget) is None for budget in self.budgets):
                yield from (Cell(method, size, seed, stage) for size in self.sizes)
