"""The cells of a comparison: its methods, sizes, seeds and budgets, and the order in which cells are run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.seeds import MOST_SEED
from weit_rl.common.sizes import Size
from weit_rl.comparison.methods import METHODS
from weit_rl.models import MODELS
from weit_rl.options.benchmark_options import BenchmarkOptions, ImageBenchmarkOptions
from weit_rl.options.image_training_options import PretrainingOptions, TrainingOptions
from weit_rl.options.option_values import read_options
from weit_rl.tasks import TaskEntry, task_entry

REPORTED = ("32x3", "96x4", "160x5", "128x8")  # not sampled in pre-training, not used in tuning
PROFILES: dict[str, dict[str, Any]] = {
    "core": {"sizes": REPORTED, "budgets": (0, 100, 300, 1000), "seeds": (0, 1, 2), "episodes": 10},
    "full": {
        "sizes": (*REPORTED, "192x2", "256x6", "256x8"),
        "budgets": (0, 100, 300, 1000, 3000, 10_000),
        "seeds": (0, 1, 2),
        "episodes": 20,
    },
}
DRAWN = {"samples": 500, "sampling_steps": 20}  # for tasks in which generated images are judged


@dataclass(frozen=True)
class Cell:
    """A training of a comparison: its method, size, seed and budget (gradient steps on the target)."""

    method: str
    size: str
    seed: int
    budget: int

    @property
    def name(self) -> str:
        """Return the name of its files."""
        return "-".join(str(value) for value in asdict(self).values())


@dataclass(frozen=True)
class Grid:
    """The options of a comparison.

    Attributes:
        data: level, path, name, or several of them.
        methods: names in ``METHODS``.
        sizes: of the targets, names or ``WIDTHxDEPTH``.
        budgets: gradient steps.
        seeds: of pre-training, sources and targets.
        batch_size: windows or images per step.
        pretrain_steps: steps of a bank; the sources of other methods get its FLOPs.
        precision: of float32 matrix products.
        task: of the networks.
        env: environment, if the task has one.
        episodes: test episodes per cell, if the task has an environment.
        options: further options of every run.
        features: run of a classifier that judges generated images; None if there is none, or one is to be trained.
        samples: number of images that every network generates, if these are judged.
        sampling_steps: steps per generated image.
        data_weights: shares of the windows drawn from each of several sets; None: in proportion to their numbers of
            steps.
        data_episodes: number of episodes to train on; None for all.
        model: of every network.
        model_options: options of its constructor.
        bank_options: further options of the pre-training of every bank; networks that methods start from get its sizes.
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
    model_options: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    features: str | None = None
    samples: int | None = None
    sampling_steps: int | None = None
    bank_options: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> TaskEntry:
        """Return the kind of the task, with the measure of its subject."""
        kind = task_entry(self.task)
        return kind.measuring(getattr(self, kind.subject))

    @property
    def subject(self) -> str | tuple[str, ...]:
        """Return the environment or the data that rows name."""
        subject: str | tuple[str, ...] = getattr(self, self.kind.subject)
        return subject

    @classmethod
    def of(cls, cfg: BenchmarkOptions | ImageBenchmarkOptions) -> Grid:
        """Make the grid of a config; missing options come from its profile.

        Raises:
            UserError: for an impossible name or number.
        """
        if cfg.profile not in PROFILES:
            raise unknown_name_error("profile", cfg.profile, list(PROFILES))
        task = cfg.get("task") or "control"
        methods = [name for name in METHODS.names() if METHODS.get(name).task in (None, task)]
        chosen = {**PROFILES[cfg.profile], "methods": methods}
        chosen |= {f.name: cfg[f.name] for f in fields(cls) if cfg.get(f.name) is not None}
        plain: dict[str, Any] = {name: _plain(value) for name, value in chosen.items()}
        plain |= {} if task == "control" else {"episodes": None}
        plain = {**(DRAWN if task_entry(task).judge else {}), **plain}
        grid = cls(**plain)
        grid.check()
        return replace(grid, sizes=tuple(str(Size.parse(size)) for size in grid.sizes))

    def check(self) -> None:
        """Raise UserError for impossible options."""
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

    def train_options(self) -> TrainingOptions:
        """Make the options of every training, of networks that methods start from and of targets."""
        return read_options("train", self._given())

    def pretrain_options(self, more: Mapping[str, Any] | None = None) -> PretrainingOptions:
        """Make the options of every pre-training.

        Args:
            more: further options of it that a user gives, over those of every run (default: none).
        """
        return read_options("pretrain", self._given() | dict(more or {}))

    def _given(self) -> dict[str, Any]:
        """Collect the options of every run, of sources and targets."""
        names = ("task", "env", "data", "data_weights", "data_episodes", "batch_size", "precision", "model")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        given |= {"model_options": dict(self.model_options)} if self.model_options else {}
        return given | self.options

    def scoring(self, validation: int = 0) -> dict[str, Any]:
        """Return the options of a target's final evaluation, and of its validation on so many episodes (0: none)."""
        if self.episodes is None:
            return {"validation": validation > 0}
        return {"episodes": self.episodes, "validation_episodes": validation}

    def judging(self, features: Path | None = None) -> dict[str, Any]:
        """Return the options by which a target's generated images are judged; none if it generates none.

        Args:
            features: run of the classifier that judges (default: the given one, if any).
        """
        given = {"features": str(features) if features else self.features}
        given |= {name: getattr(self, name) for name in DRAWN}
        return {name: value for name, value in given.items() if value is not None}

    def cells(self, seed: int) -> Iterator[Cell]:
        """Yield the cells of a seed, short ones first; a budget below a method's own stage has no cell."""
        for budget in sorted(self.budgets):
            for method in self.methods:
                if METHODS.get(method).stage(budget) is not None:
                    yield from (Cell(method, size, seed, budget) for size in self.sizes)
        if seed == self.seeds[0]:
            yield from self.longest_cells(seed)

    def longest_cells(self, seed: int) -> Iterator[Cell]:
        """Yield one cell per size for each method whose own stage exceeds every budget."""
        for method in self.methods:
            stage = METHODS.get(method).initializer.stage_steps
            if all(METHODS.get(method).stage(budget) is None for budget in self.budgets):
                yield from (Cell(method, size, seed, stage) for size in self.sizes)


def _plain(value: Any) -> Any:
    """Convert lists to tuples, as dataclasses and JSON hold them."""
    if isinstance(value, Mapping):
        return {name: value[name] if value[name] is None else _plain(value[name]) for name in value}
    return value if isinstance(value, str | int | float) else tuple(value)
