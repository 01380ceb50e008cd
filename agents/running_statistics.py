"""Scaling of observations and rewards by their running statistics, for PPO.

The statistics of observations are buffers of the policy, so a snapshot of it is complete. Those of rewards are needed
in training only.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

CLIP = 10.0  # standard deviations, as in VecNormalize
ROUNDING = 4 * torch.finfo(torch.float32).eps  # deviation relative to the mean below which an entry is constant
LEAST = 1e-18  # smallest standard deviation whose square float32 can divide by
OLD = 1e-8  # added to every variance in older agents, whose constant entries had no scale of 1


class ScaledObservations(BaseFeaturesExtractor):
    """A layer that subtracts the mean, divides by the standard deviation and clips; constant entries are divided by 1.

    Args:
        observation_space: of flat observations ``(obs,)``.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor
    added: Tensor

    def __init__(self, observation_space: spaces.Box):
        features = int(observation_space.shape[0])
        super().__init__(observation_space, features)
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(features, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("added", torch.zeros(features, dtype=torch.float64))  # to the variance
        self.register_load_state_dict_pre_hook(_as_old_ones)

    def forward(self, observations: Tensor) -> Tensor:
        """Scale ``(batch, obs)``."""
        scaled = (observations - self.mean.float()) / (self.variance.float() + self.added.float()).sqrt()
        return scaled.clamp(-CLIP, CLIP)

    def take_in(self, observations: Tensor) -> None:
        """Update the statistics with ``(steps, obs)`` by the parallel form of Welford's algorithm."""
        seen = observations.double()
        new, both = len(seen), self.count + len(seen)
        apart = seen.mean(0) - self.mean
        spread = self.variance * self.count + seen.var(0, unbiased=False) * new + apart**2 * self.count * new / both
        self.mean += apart * new / both
        self.variance.copy_(spread / both)
        self.count.copy_(both)
        still = self.variance.sqrt() <= (ROUNDING * self.mean.abs()).clamp_min(LEAST)
        self.added.copy_(still.double())


def _as_old_ones(module: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    state.setdefault(prefix + "added", torch.full_like(module.added, OLD))


class NewStatistics(BaseCallback):
    """A callback that updates the statistics after PPO has learned from a rollout, so that it learns as it acted."""

    model: Any  # an algorithm that learns from rollouts
    seen: Tensor | None = None

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.seen = torch.from_numpy(self.model.rollout_buffer.observations.copy()).flatten(0, -2)

    def _on_rollout_start(self) -> None:
        if self.seen is not None:
            for module in self.model.policy.modules():  # the critic may have its own layer
                if isinstance(module, ScaledObservations):
                    module.take_in(self.seen)
            self.seen = None

    _on_training_end = _on_rollout_start


def scaled(envs: Any, options: dict[str, Any]) -> tuple[VecNormalize, dict[str, Any]]:
    """Return the environments with scaled rewards, and the algorithm's options with scaled observations."""
    policy = {"features_extractor_class": ScaledObservations} | options.get("policy_kwargs", {})
    gamma = options.get("gamma", 0.99)
    return VecNormalize(envs, norm_obs=False, gamma=gamma), options | {"policy_kwargs": policy}
