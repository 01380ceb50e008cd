"""What holds a trained actor near its data while it learns online, beside any algorithm's own loss.

An actor that offline data trained follows its critics wherever they are wrong, and they are wrong wherever the data are
not: without a pull toward the data it forgets in a thousand steps what it could.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from weit_rl.agents.online import actor_of

ALPHA = 2.5  # the critics' share: that of TD3+BC
MOST = 10_000  # gradient steps between two counts of an agent's updates
Draw = Callable[[int], tuple[Tensor, Tensor]]


class Imitation:
    """Adds to every gradient of the actor that of the squared error of its mean action on offline data.

    The error is weighed by the size of the critics' values over 2.5, as in TD3+BC (Fujimoto and Gu, arXiv 2106.06860);
    of algorithms whose advantages are normalised, by 1 over 2.5.

    Args:
        agent: of Stable-Baselines3, with ``WeiTPolicy``.
        draw: observations ``(B, obs)`` and actions ``(B, act)`` in [-1, 1] of a step, drawn from the data.
        weight: of all this; 1 is TD3+BC's.
    """

    def __init__(self, agent: Any, draw: Draw, weight: float):
        self.agent, self.draw, self.weight, self.place = agent, draw, weight, (-1, 0)  # of updates, in one
        actor = getattr(agent.policy, "actor", None) or agent.policy
        actor.optimizer.register_step_pre_hook(self)

    def __call__(self, *_: Any) -> None:
        """Add the gradient; nothing while the actor's mean action stays as it is."""
        actor = actor_of(self.agent)
        if not actor["head"].weight.requires_grad:
            return
        # The data lie where the offline stage trained.
        observations, actions = (part.to(self.agent.policy.device) for part in self.draw(self.step()))
        error = F.mse_loss(torch.tanh(actor["head"](actor["trunk"](observations))), actions)
        (self.weight * self.scale(observations, actions) / ALPHA * error).backward()

    def step(self) -> int:
        """The number of this gradient step, told by the agent's counter, which a stopped run goes on with."""
        updates, count = self.place
        self.place = (updates, count + 1) if updates == self.agent._n_updates else (self.agent._n_updates, 0)
        return self.place[0] * MOST + self.place[1]

    @torch.no_grad()
    def scale(self, observations: Tensor, actions: Tensor) -> float:
        """The mean size of the critics' values; 1 where there are none of actions."""
        critic = getattr(self.agent, "critic", None)
        if critic is None:
            return 1.0
        values = critic(observations, actions)
        parts = values if isinstance(values, tuple) else (values,)
        return float(torch.cat([part.flatten() for part in parts]).abs().mean())
