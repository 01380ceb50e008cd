"""Behaviour cloning from pictures with small blocks of ConvNeXt V2 (arXiv 2301.00808); all else is as in ``conv``."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.models.conv import SPACE, ChannelsLastConv, Conv, picture_rules
from weit_rl.models.feed_forward import FeedForward
from weit_rl.models.policy_rules import BLOCK, shared_rules
from weit_rl.models.registry import MODELS, Model

KERNEL = 7


class GRN(nn.Module):
    """Global response normalisation: scale a channel by its share in the energy of all channels.

    Args:
        channels: of the map, in its last axis.
    """

    keep: Tensor | None

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("keep", None)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, T, height, width, channels)``."""
        energy = torch.linalg.vector_norm(x, dim=(-3, -2), keepdim=True)
        keep = torch.ones_like(energy[..., :1]) if self.keep is None else self.keep
        mean = (energy * keep).sum(-1, keepdim=True) / keep.expand_as(energy).sum(-1, keepdim=True)
        return x + self.weight * (x * energy / (mean + 1e-6)) + self.bias

    def masked(self) -> GRN:
        """Copy the module with a buffer ``keep``, a mask by which pruning weighs every channel."""
        masked = copy.deepcopy(self)
        masked.keep = torch.ones(len(self.weight))
        return masked


class Block(FeedForward):
    """A depthwise convolution, then an MLP with GRN.

    Args:
        size: of the network.
        dropout: share of the branch's output that is dropped in training (default 0).
    """

    depthwise: ChannelsLastConv
    grn: GRN

    def __init__(self, size: Size, dropout: float = 0.0):
        width = size.width
        depthwise = ChannelsLastConv(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        super().__init__(size, dropout, depthwise=depthwise, grn=GRN(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        """Compute every step by itself; ``(B, T, height, width, channels)``."""
        hidden = F.gelu(self.fc1(self.norm2(self.depthwise(x))))
        return x + self.dropout(self.fc2(self.grn(hidden)))


class ConvNeXtPolicy(Conv):
    """A policy that reads the pictures of one step; its arguments are those of :class:`Conv`."""

    def block(self, size: Size, dropout: float) -> nn.Module:
        """Make a block of ConvNeXt V2."""
        return Block(size, dropout)


def plan(tile: int) -> Plan:
    """Make the plan of the family; a template of a depthwise convolution holds ``tile`` of its channels."""
    return Plan(
        (
            Rule(BLOCK + r"depthwise\.weight", "depthwise", (tile, 1, KERNEL, KERNEL), 1, ("stream", FIXED, *SPACE)),
            Rule(BLOCK + r"depthwise\.bias", "bias", None, 1, ("stream",)),
            Rule(BLOCK + r"grn\.(weight|bias)", "grn", None, 1, ("hidden",)),
            *picture_rules(tile),
            *shared_rules(tile),
        )
    )


MODELS.add("convnext_policy", Model(ConvNeXtPolicy, plan, ("head",), sees="pictures", window=1))
