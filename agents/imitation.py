"""A loss that keeps a trained actor near its data during online training, added to any algorithm's own loss.

An actor that was trained on offline data follows its critics also where they are wrong, which is outside the data.
Without this loss it loses its performance within a thousand steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from weit_rl.agents.online import actor_of

ALPHA = 2.5  # weight of the critics against imitation, as in TD3+BC
MOST = 10_000  # upper limit of gradient steps between two counts of an agent's updates
Draw = Callable[[int], tuple[Tensor, Tensor]]


class Imitation:
    """A hook that adds the gradient of the squared error of the mean action on offline data to the actor's gradient.

    The error is weighted by the size of the critics' values over 2.5, as in TD3+BC (Fujimoto and Gu, arXiv 2106.06860),
    or by 1 over 2.5 for algorithms with normalised advantages.

    Args:
        agent: of Stable-Baselines3, with ``WeiTPolicy``.
        draw: returns the observations ``(B, obs)`` and actions ``(B, act)`` in [-1, 1] of a step, drawn from the data.
        weight: of this loss; 1 is TD3+BC's.
    """

    def __init__(self, agent: Any, draw: Draw, weight: float):
        self.agent, self.draw, self.weight, self.place = agent, draw, weight, (-1, 0)  # (updates, step in them)
        actor = getattr(agent.policy, "actor", None) or agent.policy
        actor.optimizer.register_step_pre_hook(self)

    def __call__(self, *_: Any) -> None:
        """Add the gradient, unless the actor's mean action is frozen."""
        actor = actor_of(self.agent)
        if not actor["head"].weight.requires_grad:
            return
        # The data are on the device of the offline stage.
        observations, actions = (part.to(self.agent.policy.device) for part in self.draw(self.step()))
        error = F.mse_loss(torch.tanh(actor["head"](actor["trunk"](observations))), actions)
        (self.weight * self.scale(observations, actions) / ALPHA * error).backward()

    def step(self) -> int:
        """Return the number of this gradient step from the agent's counter, which a resumed run continues."""
        updates, count = self.place
        self.place = (updates, count + 1) if updates == self.agent._n_updates else (self.agent._n_updates, 0)
        return self.place[0] * MOST + self.place[1]

    @torch.no_grad()
    def scale(self, observations: Tensor, actions: Tensor) -> float:
        """Return the mean size of the critics' values; 1 if no critic values actions."""
        critic = getattr(self.agent, "critic", None)
        if critic is None:
            return 1.0
        values = critic(observations, actions)
        parts = values if isinstance(values, tuple) else (values,)
        return float(torch.cat([part.flatten() for part in parts]).abs().mean())
