"""Causal temporal convolutions over trajectories, the convolutional counterpart of the decision transformer.

Instead of attention, a block has two causal convolutions along time: one over the last steps and a dilated one over the
whole context. All blocks are alike, so that networks of other depths can take, drop, repeat and reorder them. Windows
are padded on the right, so that causality excludes the padding.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.models.activations import RELU
from weit_rl.models.feed_forward import FeedForward
from weit_rl.models.policy import Policy
from weit_rl.models.policy_rules import BLOCK, BOUND, shared_rules
from weit_rl.models.registry import MODELS, Model

KERNEL = 5  # taps; two blocks then cover every step of a context of up to 21


class Causal(nn.Conv1d):
    """A causal convolution over all channels; its last tap is the step itself, and zeros precede the first step."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(B, T, channels)`` along time."""
        past = self.dilation[0] * (self.kernel_size[0] - 1)
        return super().forward(F.pad(x.transpose(1, 2), (past, 0))).transpose(1, 2)


class Block(FeedForward):
    """Pre-norm causal convolutions, a near and a far one, then an MLP.

    Args:
        size: of the network.
        context: number of steps that the dilated convolution covers.
        dropout: share of each branch's output that is dropped in training (default 0).
        activation: of the MLP, a name in ``ACTIVATIONS`` (default ``"relu"``).
    """

    norm1: nn.LayerNorm
    near: Causal
    far: Causal

    def __init__(self, size: Size, context: int, dropout: float = 0.0, activation: str = RELU):
        width, dilation = size.width, max(1, math.ceil((context - 1) / (KERNEL - 1)))
        near, far = Causal(width, width, KERNEL), Causal(width, width, KERNEL, dilation=dilation)
        super().__init__(size, dropout, activation, norm1=nn.LayerNorm(width), near=near, far=far)

    def forward(self, x: Tensor) -> Tensor:
        """Compute a window causally; ``(B, T, width) -> (B, T, width)``."""
        steps = self.norm1(x)
        return super().forward(x + self.dropout(self.near(steps) + self.far(steps)))


class TCN(Policy):
    """A policy with one stream of states; a single block reaches back over ``context`` steps.

    Its options are those of :class:`Policy`. Without tokens, ``rtg`` is ``"latest"`` or ``"none"``, and
    ``past_actions`` and ``positions="episode"`` are refused.
    """

    def block(self, size: Size, dropout: float) -> nn.Module:
        """Make a block of convolutions and MLP."""
        return Block(size, self.context, dropout, self.activation)


def plan(tile: int) -> Plan:
    """Make the plan of the family: like the decision transformer's, with templates that hold whole kernels."""
    whole, axes = (tile, tile, KERNEL), ("stream", "stream", FIXED)
    return Plan(
        (
            Rule(BLOCK + r"near\.weight", "near", whole, 1, axes, 1),
            Rule(BLOCK + r"far\.weight", "far", whole, 1, axes, 1),
            Rule(BLOCK + r"(near|far)\.bias", "bias", None, 1, ("stream",)),
            *shared_rules(tile),
        )
    )


MODELS.add("tcn", Model(TCN, plan, BOUND))
