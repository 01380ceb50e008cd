"""Register tasks, and define what a task offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor, nn

from weit_rl.common.registry import Registry
from weit_rl.common.sizes import Size
from weit_rl.core.plan import Plan
from weit_rl.models import Model

Metrics = dict[str, Any]


class Task(Protocol):
    """The interface of a task: what training, initialisers and reports need to know about a domain.

    Attributes:
        name: name of the environment or data set.
        plan: plan of its networks.
        model: family of its networks.
        config: its options, with at least ``model``, ``device`` and ``seed``.
        measure: name of the metric that chooses and compares networks; higher is better.
    """

    name: str
    plan: Plan
    model: Model
    config: Any
    measure: str

    def build(self, size: Size, seed: int = 0) -> nn.Module:
        """Build a fresh network of a size on the device, by the model's own initialisation."""
        ...

    def card(self, size: Size) -> dict[str, Any]:
        """Describe a network for a checkpoint's card, enough to build it again: model, size, options, purpose."""
        ...

    def settle(self, net: nn.Module) -> None:
        """Set again what the initialiser of a network must not decide."""
        ...

    def batch(self, step: int) -> Any:
        """Draw the batch of a step; the same step always gives the same batch."""
        ...

    def run(self, net: Any) -> None:
        """Run a network on a sample of the training data, the same for every network and seed."""
        ...

    def loss(self, net: Any, batch: Any) -> Tensor:
        """Compute the loss of a batch; ``net`` is called like the network."""
        ...

    def domains(self) -> Sequence[Callable[[Any, int], Tensor]] | None:
        """Return one loss per mixed set, ``loss(net, step)``; None for a single set."""
        ...

    def validation_loss(self, net: Any, batches: int = 10) -> float:
        """Compute the loss on held-out data."""
        ...

    def evaluate(self, net: nn.Module, episodes: int, seed: int, part: str = "test") -> Metrics:
        """Evaluate a plain network.

        Args:
            net: the network.
            episodes: number of episodes, if it acts.
            seed: seed of the first episode, if it acts.
            part: part of the data, if it does not act: ``"held_out"`` to choose networks by, or ``"test"`` (default).
        """
        ...

    def reference(self) -> Metrics | None:
        """Return the metrics of the data themselves, such as the returns of their episodes; None if they have none."""
        ...

    def row(self, name: str, metrics: Metrics) -> dict[str, Any]:
        """Return one row of the table that a user sees."""
        ...

    def logged(self, metrics: Metrics) -> Mapping[str, float]:
        """Return the numbers of a validation to log, by short names."""
        ...


@dataclass(frozen=True)
class Measure:
    """The measure by which networks of a task are compared.

    Attributes:
        columns: names of metrics in a report; the first one decides.
        word: its name in tables.
        digits: decimals to show.
        less: if lower is better.
        logged: name of the validation metric that chooses learning rates, higher is better (default: ``word``).
        beside: further measures with tables of their own.
        unit: factor on the numbers in tables.
    """

    columns: tuple[str, ...]
    word: str
    digits: int = 0
    less: bool = False
    logged: str = ""
    beside: tuple[Measure, ...] = ()
    unit: float = 1.0

    @property
    def sign(self) -> int:
        """The factor, 1 or -1, after which higher is better."""
        return -1 if self.less else 1

    @property
    def title(self) -> str:
        """The word with a capital letter."""
        return self.word[0].upper() + self.word[1:]


@dataclass(frozen=True)
class TaskEntry:
    """The registry entry of a task: how to make it from a composed config.

    Attributes:
        make: ``make(cfg, tile) -> Task``, which checks everything; ``tile``, the edge of a template, has a default.
        name: ``name(cfg)`` names what the task is trained on, and the shipped bank for it.
        measure: the measure of its networks.
        subject: name of the option that says what it is trained on.
        prepare: brings a config into its final form, in place.
        parts: the configs of the tasks that share a bank (default: the config alone).
        judge: values of the options that train the network whose features judge results, by name, if there is one;
            the option ``features`` then names its run.
        measure_of: gives the measure of a subject (default: ``measure`` for all).
    """

    make: Callable[..., Any]
    name: Callable[[Any], str]
    measure: Measure
    subject: str = "data"
    prepare: Callable[[Any], None] = lambda cfg: None
    parts: Callable[[Any], list[Any]] = lambda cfg: [cfg]
    judge: Mapping[str, Any] = field(default_factory=dict)
    measure_of: Callable[[Any], Measure] | None = None

    def measuring(self, subject: Any) -> TaskEntry:
        """Return this entry with the measure of a subject."""
        return replace(self, measure=self.measure_of(subject)) if self.measure_of else self


TASKS: Registry[TaskEntry] = Registry("task", "weit_rl.tasks", "weit_rl.tasks")


def task_entry_of(cfg: Mapping[str, Any]) -> TaskEntry:
    """Return the registry entry of a config's task; see :func:`task_entry`."""
    return task_entry(cfg.get("task") or "control")


def task_entry(name: str) -> TaskEntry:
    """Return a task's registry entry by its name; UserError if no such task is registered or installed."""
    return TASKS.get(name)
