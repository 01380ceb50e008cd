"""Behaviour cloning from single states: a residual MLP, the usual policy of reinforcement learning.

The action of a step depends on that step's observation and, with ``rtg="latest"``, on its return-to-go.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from weit_rl.common.sizes import Size
from weit_rl.core.plan import Plan
from weit_rl.models.activations import ACTIVATIONS
from weit_rl.models.policy import Policy
from weit_rl.models.policy_rules import BOUND, shared_rules
from weit_rl.models.registry import MODELS, Model


class MLP(Policy):
    """A policy of pre-norm blocks (LayerNorm, 4 x width hidden, an activation) on the embedded state.

    Args:
        size: width and depth.
        observation_dim: length of an observation.
        action_dim: length of an action; actions lie in [-1, 1].
        context: ignored; the network reads one step. A batch of its training has ``batch_size * context`` single steps,
            as many as the windows of other models have.
        options: see :class:`Policy`. Without tokens, ``rtg`` is ``"latest"`` or ``"none"``, and ``past_actions`` and
            ``positions="episode"`` are refused.
    """

    def __init__(self, size: Size, observation_dim: int, action_dim: int, context: int = 1, **options: Any):
        super().__init__(size, observation_dim, action_dim, 1, **options)

    def features(self, observations: Tensor) -> Tensor:
        """Compute what the head reads, ``(B, width)``, from observations ``(B, observation_dim)``.

        It equals ``forward`` without the head, with ``rtg="none"`` and without dropout. No module is called: for a few
        states at a time, module calls cost more than the arithmetic.
        """
        x = _linear(self.embed_observation, self.normalised(observations))
        if self.codes:
            x = x + self.code()
        x = _norm(self.norm_in, x)
        activation = ACTIVATIONS[self.activation]
        for block in self.blocks:
            parts = block._modules
            hidden = activation(_linear(parts["fc1"], _norm(parts["norm2"], x)))
            x = _linear(parts["fc2"], hidden).add_(x)
        return _norm(self.norm_out, x)


def _linear(layer: Any, x: Tensor) -> Tensor:
    return F.linear(x, *layer._parameters.values())


def _norm(layer: Any, x: Tensor) -> Tensor:
    weight, bias = layer._parameters.values()
    return torch.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)


def plan(tile: int) -> Plan:
    """Make the plan of the family: both weights of a block are composed from templates, the rest is free."""
    return Plan(shared_rules(tile))


MODELS.add("mlp", Model(MLP, plan, BOUND, without_memory=True))
