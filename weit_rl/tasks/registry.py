"""The registry of tasks, and what each has to offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from weit_rl.common.registry import Registry
from weit_rl.common.sizes import Size
from weit_rl.core.plan import Plan
from weit_rl.models import Model

Metrics = dict[str, Any]


class Task(Protocol):
    """What training, initialisers and reports need to know of a domain.

    Attributes:
        name: of what it is trained on, an environment or a data set.
        plan: of its networks.
        model: their family.
        config: has at least ``model``, ``device`` and ``seed``.
        measure: the metric by which networks are chosen and compared; more is better.
    """

    name: str
    plan: Plan
    model: Model
    config: Any
    measure: str

    def build(self, size: Size, seed: int = 0) -> nn.Module:
        """A fresh network of a size, from the model's own initialisation, on the device."""
        ...

    def card(self, size: Size) -> dict[str, Any]:
        """What a checkpoint must say so that the network can be built again: model, size, options, what it is for."""
        ...

    def settle(self, net: nn.Module) -> None:
        """Give a network back what its initialiser must not decide."""
        ...

    def batch(self, step: int) -> Any:
        """The batch of a step; the same step always gives the same batch."""
        ...

    def run(self, net: Any) -> None:
        """Run a network on a sample of the training data, the same for every network and seed."""
        ...

    def loss(self, net: Any, batch: Any) -> Tensor:
        """The loss of a batch; ``net`` is called as the network is."""
        ...

    def domains(self) -> Sequence[Callable[[Any, int], Tensor]] | None:
        """The loss of a step on each of several sets that were mixed; None for a single one."""
        ...

    def validation_loss(self, net: Any, batches: int = 10) -> float:
        """The loss on data held out of training."""
        ...

    def evaluate(self, net: nn.Module, episodes: int, seed: int, part: str = "test") -> Metrics:
        """Metrics of a plain network.

        Args:
            net: the network.
            episodes: how many, where it acts.
            seed: of the first episode, where it acts.
            part: of the data, where it does not act: ``"held_out"``, by which something is chosen, or ``"test"``.
        """
        ...

    def reference(self) -> Metrics | None:
        """The metrics of the data themselves, such as the returns of their episodes; None where there are none."""
        ...

    def row(self, name: str, metrics: Metrics) -> dict[str, Any]:
        """One row of the table a user sees."""
        ...

    def logged(self, metrics: Metrics) -> Mapping[str, float]:
        """What is logged of a validation, by short names."""
        ...


@dataclass(frozen=True)
class Measure:
    """What networks of a task are compared by.

    Attributes:
        columns: names of metrics in a report; the first is the one that decides.
        word: what tables call it.
        digits: behind the point that are shown.
        less: whether less of it is better.
        logged: the metric of validations on the way by which learning rates are chosen, and more of which is better;
            empty for ``word``.
        beside: further measures, of other ``columns``, that have tables of results, too.
        unit: what tables multiply it with.
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
        """What the measure is multiplied with, so that more is better."""
        return -1 if self.less else 1

    @property
    def title(self) -> str:
        """The word at the beginning of a sentence."""
        return self.word[0].upper() + self.word[1:]


@dataclass(frozen=True)
class Kind:
    """How a task is made of a composed config.

    Attributes:
        make: ``make(cfg, tile) -> Task``; finds everything bad. Without ``tile``, the edge of a template, its default.
        name: ``name(cfg)`` names what the task is trained on, and the bank that ships for it.
        measure: what its networks are compared by.
        subject: the option that says what it is trained on.
        prepare: brings the config into its final form, in place.
        parts: the configs of the tasks that share a bank; usually the config alone.
        judge: options of the training of a network by whose features results are judged, where that needs one: the
            option ``features`` names its run.
    """

    make: Callable[..., Any]
    name: Callable[[Any], str]
    measure: Measure
    subject: str = "data"
    prepare: Callable[[Any], None] = lambda cfg: None
    parts: Callable[[Any], list[Any]] = lambda cfg: [cfg]
    judge: tuple[str, ...] = ()


TASKS: Registry[Kind] = Registry("task", "weit_rl.tasks", "weit_rl.tasks")


def kind_of(cfg: Mapping[str, Any]) -> Kind:
    """The kind of task that a config is for; see :func:`kind_named`."""
    return kind_named(cfg.get("task") or "control")


def kind_named(name: str) -> Kind:
    """Return a kind of task by its name; raises UserError for one that nobody registered or installed."""
    return TASKS.get(name)
