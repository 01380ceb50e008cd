"""Behaviour cloning from single states: a residual MLP, which most reinforcement learning calls a policy.

The action of a step depends on that step's observation and, with ``rtg="latest"``, on its return-to-go.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from weit_rl.common.sizes import Size
from weit_rl.core.plan import Plan
from weit_rl.models.policy import BOUND, Policy, shared_rules
from weit_rl.models.registry import MODELS, Model


class MLP(Policy):
    """Pre-norm blocks (LayerNorm, 4 x width hidden, ReLU) on the embedded state.

    Args:
        size: width and depth.
        observation_dim: numbers in an observation.
        action_dim: numbers in an action; actions lie in [-1, 1].
        context: ignored: it sees one step, and that is what is fed to it when acting. Training draws windows of as many
            steps as ``context`` says for any model; to this one they are separate examples.
        options: see :class:`Policy`. It has no tokens: ``rtg`` is ``"latest"`` or ``"none"``, ``past_actions`` and
            ``positions="episode"`` are refused.
    """

    def __init__(self, size: Size, observation_dim: int, action_dim: int, context: int = 1, **options: Any):
        super().__init__(size, observation_dim, action_dim, 1, **options)

    def features(self, observations: Tensor) -> Tensor:
        """``(B, observation_dim) -> (B, width)``, as ``forward`` before the head, with ``rtg="none"`` and no dropout.

        No module is called: for a few states at once, calls from Python cost more than the arithmetic.
        """
        x = _linear(self.embed_observation, self.normalised(observations))
        x = _norm(self.norm_in, x)
        for block in self.blocks:
            parts = block._modules
            hidden = _linear(parts["fc1"], _norm(parts["norm2"], x)).relu_()
            x = _linear(parts["fc2"], hidden).add_(x)
        return _norm(self.norm_out, x)


def _linear(layer: Any, x: Tensor) -> Tensor:
    return F.linear(x, *layer._parameters.values())


def _norm(layer: Any, x: Tensor) -> Tensor:
    weight, bias = layer._parameters.values()
    return torch.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)


def plan(tile: int) -> Plan:
    """The plan of the family: both weights of a block are composed from ``tile x tile`` templates, the rest is free."""
    return Plan(shared_rules(tile))


MODELS.add("mlp", Model(MLP, plan, BOUND))
