"""Observations and rewards scaled by their running statistics, for PPO.

The statistics of observations are buffers of the policy, so a snapshot of it acts without anything beside it; those of
rewards serve the training alone.
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
ROUNDING = 4 * torch.finfo(torch.float32).eps  # of its mean: what an entry may deviate by and be constant all the same
LEAST = 1e-18  # standard deviation whose square float32 still divides by
OLD = 1e-8  # added to every variance by agents from before constants had a scale of 1


class ScaledObservations(BaseFeaturesExtractor):
    """Observations less their mean, over their standard deviation, clipped; over 1 where they have not moved yet.

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
        """``(batch, obs)`` in, ``(batch, obs)`` out."""
        scaled = (observations - self.mean.float()) / (self.variance.float() + self.added.float()).sqrt()
        return scaled.clamp(-CLIP, CLIP)

    def take_in(self, observations: Tensor) -> None:
        """Bring ``(steps, obs)`` into the statistics (parallel form of Welford's update)."""
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
    """Takes in what a rollout saw once PPO has learned from it, so that it learns of each as it was acted."""

    model: Any  # of an algorithm that learns from rollouts
    seen: Tensor | None = None

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.seen = torch.from_numpy(self.model.rollout_buffer.observations.copy()).flatten(0, -2)

    def _on_rollout_start(self) -> None:
        if self.seen is not None:
            for module in self.model.policy.modules():  # the critic may have its own
                if isinstance(module, ScaledObservations):
                    module.take_in(self.seen)
            self.seen = None

    _on_training_end = _on_rollout_start


def scaled(envs: Any, options: dict[str, Any]) -> tuple[VecNormalize, dict[str, Any]]:
    """The environments with scaled rewards, and the algorithm's options with scaled observations."""
    policy = {"features_extractor_class": ScaledObservations} | options.get("policy_kwargs", {})
    gamma = options.get("gamma", 0.99)
    return VecNormalize(envs, norm_obs=False, gamma=gamma), options | {"policy_kwargs": policy}
