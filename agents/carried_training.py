"""Transfer of training from one agent to another: replay buffer, counters, and moments of the optimizers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

COUNTERS = (
    *("num_timesteps", "_total_timesteps", "_num_timesteps_at_start", "_current_progress_remaining"),
    *("_episode_num", "_n_updates", "_stats_window_size"),
)
BUFFERS = ("ep_info_buffer", "ep_success_buffer")  # statistics of the last episodes


def carry_training(old: Any, new: Any) -> None:
    """Let a new agent of Stable-Baselines3 continue an old one's training by ``learn(..., reset_num_timesteps=False)``.

    Args:
        old: the agent that is replaced.
        new: an agent of the same class and environment. Parameters of another shape begin without moments. Both agents
            share the old one's replay buffer.
    """
    for name in COUNTERS:
        setattr(new, name, getattr(old, name))
    for name in BUFFERS:
        setattr(new, name, copy.copy(getattr(old, name)))
    if getattr(old, "replay_buffer", None) is not None:
        new.replay_buffer, new.buffer_size = old.replay_buffer, old.buffer_size
    if old._custom_logger:
        new.set_logger(old.logger)
    for before, after in zip(_optimizers(old), _optimizers(new), strict=True):
        _carry_moments(before, after)


def _optimizers(agent: Any) -> Iterator[torch.optim.Optimizer]:
    """Return the optimizers of an agent: of the whole policy, or of actor, critics and entropy."""
    places = (agent.policy, getattr(agent, "actor", None), getattr(agent, "critic", None))
    found = [*(getattr(place, "optimizer", None) for place in places), getattr(agent, "ent_coef_optimizer", None)]
    return (optimizer for optimizer in found if optimizer is not None)


def _carry_moments(old: torch.optim.Optimizer, new: torch.optim.Optimizer) -> None:
    pairs = zip(_parameters(old), _parameters(new), strict=True)
    for before, after in pairs:
        if before.shape == after.shape and before in old.state:
            new.state[after] = copy.deepcopy(old.state[before])


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
