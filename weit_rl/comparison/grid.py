"""The cells of a comparison: which methods, sizes, seeds and budgets there are, and in which order they are run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown
from weit_rl.common.seeds import MOST_SEED
from weit_rl.common.sizes import Size
from weit_rl.comparison.methods import METHODS
from weit_rl.models import MODELS
from weit_rl.options.benchmark_options import BenchmarkOptions, ImageBenchmarkOptions
from weit_rl.tasks import Kind, kind_named

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
DRAWN = {"samples": 500, "sampling_steps": 20}  # where images are judged that networks draw


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
        data: level, path, name, or several of them.
        methods: names in ``METHODS``.
        sizes: of the targets, names or ``WIDTHxDEPTH``.
        budgets: gradient steps.
        seeds: of pre-training, sources and targets alike.
        batch_size: windows or images a step.
        pretrain_steps: steps of a bank; the sources of other methods get its FLOPs.
        precision: of float32 matrix products.
        task: what the networks are for.
        env: environment, where they act.
        episodes: test episodes of a cell, where they act.
        options: further ones of every run.
        features: run of a classifier that judges drawn images; None where there is none, or one is to be trained.
        samples: images that every network draws, where they are judged.
        sampling_steps: of drawing one.
        data_weights: shares of the windows drawn from each of several sets; None by their numbers of steps.
        data_episodes: how many episodes there are to learn from; None for all.
        model: of every network.
        bank_options: further ones of the pre-training of every bank, whose sizes networks that others start from take.
    """

    data: str | tuple[str, ...]
    methods: tuple[str, ...]
    sizes: tuple[str, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    batch_size: int
    pretrain_steps: int
    precision: str = "highest"
    data_weights: tuple[float, ...] | None = None
    data_episodes: int | None = None
    model: str = "dt"
    task: str = "control"
    env: str | None = None
    episodes: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    features: str | None = None
    samples: int | None = None
    sampling_steps: int | None = None
    bank_options: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Of task."""
        return kind_named(self.task)

    @property
    def subject(self) -> Any:
        """What rows say of where they are from."""
        return getattr(self, self.kind.subject)

    @classmethod
    def of(cls, cfg: BenchmarkOptions | ImageBenchmarkOptions) -> Grid:
        """The grid of a config; what it leaves open is its profile's.

        Raises:
            UserError: for a name or number that is not possible.
        """
        if cfg.profile not in PROFILES:
            raise unknown("profile", cfg.profile, list(PROFILES))
        task = cfg.get("task") or "control"
        methods = [name for name in METHODS.names() if METHODS.get(name).task in (None, task)]
        chosen = {**PROFILES[cfg.profile], "methods": methods}
        chosen |= {f.name: cfg[f.name] for f in fields(cls) if cfg.get(f.name) is not None}
        plain: dict[str, Any] = {name: _plain(value) for name, value in chosen.items()}
        plain |= {} if task == "control" else {"episodes": None}
        plain = {**(DRAWN if kind_named(task).judge else {}), **plain}
        grid = cls(**plain)
        grid.check()
        return replace(grid, sizes=tuple(str(Size.parse(size)) for size in grid.sizes))

    def check(self) -> None:
        """UserError for what is not possible."""
        MODELS.get(self.model)
        for method in self.methods:
            if METHODS.get(method).task not in (None, self.task):
                raise UserError(f"methods: {method} is for task={METHODS.get(method).task}; leave it out")
        for name in ("features", *DRAWN):
            value = getattr(self, name)
            if value is not None and not self.kind.judge:
                raise UserError(f"{name}={value}: task={self.task} draws nothing that is judged; leave it out")
        for name in ("methods", "sizes", "budgets", "seeds"):
            values = getattr(self, name)
            shapes = [Size.parse(size) for size in values] if name == "sizes" else values
            if not values or len(set(shapes)) < len(values):
                raise UserError(f"{name}={list(values)}: give at least one, each once")
        if min(self.budgets) < 0:
            raise UserError(f"budgets={list(self.budgets)}: must be 0 or more")
        if not all(0 <= seed <= MOST_SEED for seed in self.seeds):
            raise UserError(f"seeds={list(self.seeds)}: must be from 0 to {MOST_SEED}")

    def words(self) -> list[str]:
        """Options that every run has, of a source as of a target."""
        names = ("task", "env", "data", "data_weights", "data_episodes", "batch_size", "precision", "model")
        return words_of({name: getattr(self, name) for name in names if getattr(self, name) is not None} | self.options)

    def judged(self, validation: int = 0) -> list[str]:
        """Options by which a target is judged at the end, and on the way on so many episodes (0: not at all)."""
        if self.episodes is None:
            return [f"validation={str(validation > 0).lower()}"]
        return [f"episodes={self.episodes}", f"validation_episodes={validation}"]

    def drawn(self, features: object = None) -> list[str]:
        """Options by which the images are judged that a target draws; none where it draws none.

        Args:
            features: run of the classifier that judges (default: the one that was given, if one was).
        """
        given = {"features": features or self.features} | {name: getattr(self, name) for name in DRAWN}
        return [f"{name}={value}" for name, value in given.items() if value is not None]

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


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Options as a command takes them."""
    return [f"{name}={json.dumps(v) if isinstance(v, tuple | list) else v}" for name, v in options.items()]


def _plain(value: Any) -> Any:
    """As dataclasses and JSON hold it: lists as tuples."""
    if isinstance(value, Mapping):
        return {name: value[name] if value[name] is None else _plain(value[name]) for name in value}
    return value if isinstance(value, str | int | float) else tuple(value)
