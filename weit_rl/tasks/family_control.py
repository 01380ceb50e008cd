"""Control of several tasks of one family by one network, which has a learned code for every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.data import Trajectories
from weit_rl.envs.registry import EnvEntry
from weit_rl.tasks.control import Control, ControlConfig, divided

SUMMED, MEANT = ("episodes", "failed_episodes"), ("return_mean", "return_std", "return_median", "success_rate", "score")


class FamilyControl(Control):
    """The task of several environments of one family: a batch mixes all of them, each with an equal share.

    Normaliser, embedding and head are the family's. The options of the data (held-out episodes, number of episodes,
    share of the best) are those of every task by itself.

    Args:
        entries: the environments, of one family.
        sets: the data of each.
        config: the options.

    Raises:
        UserError: as :class:`Control` does, or if a task is named twice.
    """

    def __init__(self, entries: Sequence[EnvEntry], sets: Sequence[Trajectories], config: ControlConfig):
        self.entries = tuple(entries)
        self._parts = [divided(one, config) for one in sets]
        names = [entry.name for entry in entries]
        if len(set(names)) < len(names):
            raise UserError(f"env={names}: name each task once")
        super().__init__(entries[0], joined(sets), config)
        self.name, self.tasks = self.family, tuple(names)
        self.undivided = [name for name, one in zip(names, sets, strict=True) if one.episodes == 1]

    def divide(self) -> tuple[Trajectories, Trajectories, Trajectories]:
        """Divide the episodes of every task by itself."""
        known, training, held = (joined(part) for part in zip(*self._parts, strict=True))
        return known, training, held

    def card(self, size: Size) -> dict[str, Any]:
        """Describe the network for a checkpoint's card; it is of several environments."""
        return super().card(size) | {"env": list(self.tasks)}

    def evaluate(self, net: nn.Module, episodes: int, seed: int, part: str = "test") -> dict[str, Any]:
        """Roll out the policy in every task; returns means over the tasks, and the score of each in ``tasks``."""
        return evaluate_tasks(net, self.entries, episodes, seed)

    def reference(self) -> dict[str, Any]:
        """Return the mean over the tasks of their data's returns, in the form of an evaluation."""
        each = [self.reference_of(known, entry) for entry, (known, *_) in zip(self.entries, self._parts, strict=True)]
        return mean_metrics(each)


def joined(sets: Sequence[Trajectories]) -> Trajectories:
    """Join the data of several tasks, which are drawn equally often."""
    found = Trajectories.mix(sets, [1.0] * len(sets))
    found.by_task = True
    return found


def evaluate_tasks(net: Any, entries: Sequence[EnvEntry], episodes: int, seed: int) -> dict[str, Any]:
    """Evaluate a network of several tasks on all of them.

    Args:
        net: a plain network with a code for each, in this order.
        entries: the environments.
        episodes: number of episodes of each.
        seed: reset seed of the first episode of each; the others follow.
    """
    from weit_rl.agents.evaluation import evaluate

    each = [evaluate(net.of_task(task), entry, episodes, seed) for task, entry in enumerate(entries)]
    found = mean_metrics(each)
    return found | {"tasks": {entry.name: metrics["score"] for entry, metrics in zip(entries, each, strict=True)}}


def mean_metrics(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the metrics of several tasks; a metric that one of them lacks is None."""
    found: dict[str, Any] = {name: sum(metrics[name] for metrics in each) for name in SUMMED}
    for name in MEANT:
        values = [metrics.get(name) for metrics in each]
        found[name] = None if None in values else float(np.mean(np.array(values, np.float64)))
    return found
