"""Measure exported files: latency, difference from the network, episode returns."""

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

from weit_rl.agents.evaluation import note_end
from weit_rl.deploy.onnx_policy import NEXT, ExportedPolicy, padded
from weit_rl.deploy.registry import ExportFormat, Graph, Step
from weit_rl.envs.registry import EnvEntry

CALLS, WARM_UP = 200, 30


@dataclass(frozen=True)
class Measured:
    """An exported file in memory and its measurements.

    Attributes:
        data: the file's bytes.
        step: the function in the file.
        seconds: median time of :data:`CALLS` calls with one row, or with the file's fixed number of rows.
        difference: largest difference between outputs of file and network, as a share of the largest output.
    """

    data: bytes
    step: Step
    seconds: float
    difference: float

    @classmethod
    def of(cls, kind: ExportFormat, data: bytes, graph: Graph, threads: int) -> Measured:
        """Run a file on ``threads`` CPU threads and measure it."""
        step = kind.step(data, threads)
        return cls(data, step, median_seconds(step, graph), difference(step, graph))

    def facts(self) -> dict[str, Any]:
        """Return the measurements for reports."""
        return {"bytes": len(self.data), "latency_ms": 1000 * self.seconds, "difference": self.difference}


def median_seconds(step: Step, graph: Graph, calls: int = CALLS) -> float:
    """Measure the median time in seconds of a call with one row, or the fixed batch, after a warm-up."""
    inputs = {name: tensor[: graph.batch or 1].numpy() for name, tensor in {**graph.inputs, **graph.draw(0)}.items()}
    for _ in range(WARM_UP):
        step(inputs)
    return statistics.median(_seconds(lambda: step(inputs)) for _ in range(calls))


def busy_remark() -> str:
    """Return a remark if other work on this machine makes calls take longer; an empty text if not."""
    load, cores = getattr(os, "getloadavg", lambda: (0.0,))()[0], os.cpu_count() or 1
    return f" (this machine is busy, load {load:.1f} on {cores} cores: calls take longer)" if load > 1.5 * cores else ""


@torch.no_grad()
def difference(step: Step, graph: Graph) -> float:
    """Measure the largest difference between outputs of file and network, as a share of the largest output.

    Both run a few steps longer than the network's context.
    """
    inputs, worst, largest = dict(graph.inputs), 0.0, 1.0
    for call in range(graph.card.get("context", 1) + 5):
        inputs |= graph.draw(call)
        wanted = graph.module(**inputs)
        got = step({name: tensor.numpy() for name, tensor in inputs.items()})
        outputs = [name for name in wanted if not name.startswith(NEXT)]
        worst = max(worst, *(float(np.abs(got[name] - wanted[name].numpy()).max()) for name in outputs))
        largest = max(largest, *(float(wanted[name].abs().max()) for name in outputs))
        inputs |= {name.removeprefix(NEXT): tensor for name, tensor in wanted.items() if name.startswith(NEXT)}
    return worst / largest


def exported_policy(step: Step, graph: Graph) -> ExportedPolicy:
    """Wrap the function of a policy's file, so that it acts."""
    return ExportedPolicy(step, {name: tensor[:1].numpy() for name, tensor in graph.inputs.items()}, graph.card)


class ExportedClassifier(nn.Module):
    """A classifier's file that is called like its network.

    Args:
        step: the function in the file.
        batch: images per call; None for any number.
    """

    def __init__(self, step: Step, batch: int | None):
        super().__init__()
        self.step, self.batch = step, batch

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits ``(n, classes)`` of images ``(n, channels, height, width)``."""
        at_once = self.batch or len(images)
        parts = [padded(some.numpy(), at_once) for some in images.split(at_once)]
        return torch.from_numpy(np.concatenate([self.step({"images": part})["logits"] for part in parts]))[
            : len(images)
        ]


def episode_returns(
    policy: ExportedPolicy,
    entry: EnvEntry,
    episodes: int,
    seed: int,
    failed: list[int] | None = None,
    succeeded: list[int] | None = None,
) -> np.ndarray:
    """Roll out a policy's file and return the undiscounted return of every episode.

    Args:
        policy: the policy.
        entry: the environment's registry entry.
        episodes: number of episodes.
        seed: reset seed of the first episode; the next ones count up.
        failed: list that gets the seeds of episodes whose simulation failed (default None).
        succeeded: list that gets the seeds of episodes with a success (default None).
    """
    seeds, at_once = range(seed, seed + episodes), policy.batch or episodes
    groups = (seeds[first : first + at_once] for first in range(0, episodes, at_once))
    return np.concatenate([_play(policy, entry, group, failed, succeeded) for group in groups])


def _play(
    policy: ExportedPolicy,
    entry: EnvEntry,
    seeds: Sequence[int],
    failed: list[int] | None,
    succeeded: list[int] | None,
) -> np.ndarray:
    envs, box = [entry.make() for _ in seeds], entry.action_box
    observations = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)])
    returns, rewards, running = np.zeros(len(envs)), np.zeros(len(envs)), set(range(len(envs)))
    policy.reset()
    while running:
        actions = box.unit(policy.act(observations, rewards))  # these environments take actions in [-1, 1]
        for i in sorted(running):
            observations[i], rewards[i], terminated, truncated, info = envs[i].step(actions[i])
            returns[i] += rewards[i]
            note_end(info, seeds[i], failed, succeeded)
            running -= {i} if terminated or truncated else set()
    for env in envs:
        env.close()
    return returns


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
