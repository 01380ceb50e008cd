"""Causal temporal convolutions over trajectories: the decision transformer's convolutional counterpart.

Where a transformer's block attends, a block here convolves along time, looking back only: once over the last steps and
once, dilated, over the whole context. All blocks are alike, so that networks of other depths can take, drop, repeat and
reorder them. Windows are padded on the right, so causality alone keeps padding out.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.models.policy import BLOCK, BOUND, FeedForward, Policy, shared_rules
from weit_rl.models.registry import MODELS, Model

KERNEL = 5  # taps; with 5 of them two blocks miss no step of a context of up to 21


class Causal(nn.Conv1d):
    """A convolution over all channels whose last tap is the step itself, and zeros before the first step."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, channels) -> (B, T, channels)``."""
        past = self.dilation[0] * (self.kernel_size[0] - 1)
        return super().forward(F.pad(x.transpose(1, 2), (past, 0))).transpose(1, 2)


class Block(FeedForward):
    """Pre-norm causal convolutions, near and far, and MLP.

    Args:
        size: of the network.
        context: steps that the taps of the dilated convolution are spread over.
        dropout: share of what is added that is left out in training.
    """

    norm1: nn.LayerNorm
    near: Causal
    far: Causal

    def __init__(self, size: Size, context: int, dropout: float = 0.0):
        width, dilation = size.width, max(1, math.ceil((context - 1) / (KERNEL - 1)))
        near, far = Causal(width, width, KERNEL), Causal(width, width, KERNEL, dilation=dilation)
        super().__init__(size, dropout, norm1=nn.LayerNorm(width), near=near, far=far)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, width) -> (B, T, width)``, causal."""
        steps = self.norm1(x)
        return super().forward(x + self.dropout(self.near(steps) + self.far(steps)))


class TCN(Policy):
    """One stream of states; the last block alone reaches back over ``context`` steps.

    It has no tokens: ``rtg`` is ``"latest"`` or ``"none"``, ``past_actions`` and ``positions="episode"`` are refused.
    Other options are those of :class:`Policy`.
    """

    def block(self, size: Size, dropout: float) -> nn.Module:
        """Convolutions and MLP."""
        return Block(size, self.context, dropout)


def plan(tile: int) -> Plan:
    """The plan of the family: as the decision transformer's; a convolution's templates hold the whole kernel."""
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
