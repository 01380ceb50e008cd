"""How a file does: whether it answers as its network does, how long a call takes, what it returns."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weit_rl.deploy.onnx_policy import NEXT, ExportedPolicy, padded
from weit_rl.deploy.registry import Format, Graph, Step
from weit_rl.envs.registry import EnvEntry

CALLS, WARM_UP = 200, 30


@dataclass(frozen=True)
class Measured:
    """A file in memory, and what was found of it.

    Attributes:
        data: the file.
        step: the function in it.
        seconds: the median of :data:`CALLS` calls of one row, or of as many as the file is made for.
        difference: the largest one of its answers from the network's, as a share of the largest answer.
    """

    data: bytes
    step: Step
    seconds: float
    difference: float

    @classmethod
    def of(cls, kind: Format, data: bytes, graph: Graph, threads: int) -> Measured:
        """Run the file, on so many CPU threads."""
        step = kind.step(data, threads)
        return cls(data, step, median_seconds(step, graph), difference(step, graph))

    def facts(self) -> dict[str, Any]:
        """For reports."""
        return {"bytes": len(self.data), "latency_ms": 1000 * self.seconds, "difference": self.difference}


def median_seconds(step: Step, graph: Graph, calls: int = CALLS) -> float:
    """The median time of a call of one row (or of a fixed batch), after a warm-up."""
    inputs = {name: tensor[: graph.batch or 1].numpy() for name, tensor in {**graph.inputs, **graph.draw(0)}.items()}
    for _ in range(WARM_UP):
        step(inputs)
    return statistics.median(_seconds(lambda: step(inputs)) for _ in range(calls))


def busy() -> str:
    """A remark for where other work makes calls take longer than on a free machine; empty where none is known."""
    load, cores = getattr(os, "getloadavg", lambda: (0.0,))()[0], os.cpu_count() or 1
    return f" (this machine is busy, load {load:.1f} on {cores} cores: calls take longer)" if load > 1.5 * cores else ""


@torch.no_grad()
def difference(step: Step, graph: Graph) -> float:
    """The largest difference from the network over some steps more than its memory, relative to its largest answer."""
    inputs, worst, largest = dict(graph.inputs), 0.0, 1.0
    for call in range(graph.card.get("context", 1) + 5):
        inputs |= graph.draw(call)
        wanted = graph.module(**inputs)
        got = step({name: tensor.numpy() for name, tensor in inputs.items()})
        answers = [name for name in wanted if not name.startswith(NEXT)]
        worst = max(worst, *(float(np.abs(got[name] - wanted[name].numpy()).max()) for name in answers))
        largest = max(largest, *(float(wanted[name].abs().max()) for name in answers))
        inputs |= {name.removeprefix(NEXT): tensor for name, tensor in wanted.items() if name.startswith(NEXT)}
    return worst / largest


def acting(step: Step, graph: Graph) -> ExportedPolicy:
    """A policy's file, acting."""
    return ExportedPolicy(step, {name: tensor[:1].numpy() for name, tensor in graph.inputs.items()}, graph.card)


class Answers(nn.Module):
    """A classifier's file, called as its network is.

    Args:
        step: the function in it.
        batch: images of every call; None for any number.
    """

    def __init__(self, step: Step, batch: int | None):
        super().__init__()
        self.step, self.batch = step, batch

    def forward(self, images: Tensor) -> Tensor:
        """``(n, channels, height, width)`` to ``(n, classes)``."""
        at_once = self.batch or len(images)
        parts = [padded(some.numpy(), at_once) for some in images.split(at_once)]
        return torch.from_numpy(np.concatenate([self.step({"images": part})["logits"] for part in parts]))[
            : len(images)
        ]


def episode_returns(
    policy: ExportedPolicy, entry: EnvEntry, episodes: int, seed: int, failed: list[int] | None = None
) -> np.ndarray:
    """The undiscounted return of every episode, played by a file.

    Args:
        policy: the file, acting.
        entry: the environment's registry row.
        episodes: how many.
        seed: the first episode's reset seed; the others follow.
        failed: takes the seeds of episodes whose simulation failed (default None: nobody asks).
    """
    seeds, at_once = range(seed, seed + episodes), policy.batch or episodes
    groups = (seeds[first : first + at_once] for first in range(0, episodes, at_once))
    return np.concatenate([_played(policy, entry, group, [] if failed is None else failed) for group in groups])


def _played(policy: ExportedPolicy, entry: EnvEntry, seeds: Sequence[int], failed: list[int]) -> np.ndarray:
    envs, box = [entry.make() for _ in seeds], entry.action_box
    observations = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)])
    returns, rewards, running = np.zeros(len(envs)), np.zeros(len(envs)), set(range(len(envs)))
    policy.reset()
    while running:
        actions = box.unit(policy.act(observations, rewards))  # the environments here act in [-1, 1]
        for i in sorted(running):
            observations[i], rewards[i], terminated, truncated, info = envs[i].step(actions[i])
            returns[i] += rewards[i]
            failed += [seeds[i]] if "crashed" in info else []
            running -= {i} if terminated or truncated else set()
    for env in envs:
        env.close()
    return returns


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
