"""Training steps that benchmarks of speed and memory time, on data of HalfCheetah's shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from weit_rl import Size, TemplateBank, WeiT
from weit_rl.data import Trajectories

SIZE = Size(128, 3)
STREAMS = {
    "the original token stream (return, state, action): 60 tokens a window": {"rtg": "every", "past_actions": True},
    "the default stream (states): 20 tokens a window": {},
}
Job = Callable[[], object]


def recorded(episodes: int = 20, steps: int = 1000) -> Trajectories:
    """Draw random data of HalfCheetah's shape; their values do not change the time of a step."""
    rng = np.random.default_rng(0)
    n = episodes * steps
    arrays = (rng.normal(size=(n, 17)), rng.uniform(-1, 1, size=(n, 6)), rng.normal(size=n))
    return Trajectories(*(a.astype(np.float32) for a in arrays), np.arange(0, n + 1, steps), {})


def step_jobs(task: Any, rank: int, size: Size = SIZE) -> dict[str, Callable[[], None]]:
    """Return the parts of a training step by name: a dense step, a composed one, composing alone, sampling.

    Args:
        task: the task of the step.
        rank: number of templates per role.
        size: of the network.
    """
    plain = task.build(size)
    net = WeiT(plain, TemplateBank.from_plan(task.plan, rank), task.plan).to(task.config.device)
    batch = task.batch(0)
    names = [name for slot in net.layout.values() if slot.rule.tile for name in slot.names]
    factors = [*net.scalers.values(), *(net.bank.templates[role] for role in net.bank.roles())]
    upstream = [torch.ones_like(plain.get_parameter(name)) for name in names]

    def compose() -> None:
        weights = net.compose()
        torch.autograd.grad([weights[name] for name in names], factors, upstream)

    return {
        "dense step (forward, backward)": lambda: task.loss(plain, batch).backward(),
        "composed step": lambda: task.loss(net, batch).backward(),
        "composing alone (forward, backward)": compose,
        "sampling a batch": lambda: task.batch(1),
    }


def update(module: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Job:
    """Return a whole step of AdamW; it deletes its gradients, so that a step frees what it allocates."""
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], fused=True)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
