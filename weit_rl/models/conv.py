"""Behaviour cloning from pictures: a convolutional policy, of Nature's first layers and IMPALA's residual blocks.

An eighth of the picture's edge is left when the blocks begin, and all of them work there, alike. What they make is read
whole, as Nature's and IMPALA's flat layer does, by a convolution as large as the map, so that where something is stays
known. Inside, channels are the last axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.models.policy import BLOCK, FREE_RULES, Policy
from weit_rl.models.registry import MODELS, Model

MAP, QUARTER = 8, 4  # edge of the map that is read, whatever the picture's; that of the templates which it is read by
SPACE = (FIXED, FIXED)
DARK, BRIGHT = 0.0, 255.0


class Eye(nn.Conv2d):
    """The first convolution, of pictures with their channels first."""

    def __init__(self, channels: int, width: int):
        super().__init__(channels, width, kernel_size=8, stride=4, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, channels, height, width) -> (B, T, height / 4, width / 4, channels)``."""
        pictures = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return super().forward(pictures).movedim(1, -1).unflatten(0, x.shape[:2])


class Spatial(nn.Conv2d):
    """A convolution over the last axes but one, channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, height, width, channels)``, and so it comes out."""
        return super().forward(x.flatten(0, 1).movedim(-1, 1)).movedim(1, -1).unflatten(0, x.shape[:2])


class Block(nn.Module):
    """Two convolutions, as IMPALA's, behind a norm.

    Args:
        size: of the network.
        dropout: share of what is added that is left out in training.
    """

    def __init__(self, size: Size, dropout: float = 0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width)
        self.conv1 = Spatial(size.width, size.width, 3, padding=1)
        self.conv2 = Spatial(size.width, size.width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, height, width, channels)``, every step by itself."""
        return x + self.dropout(self.conv2(F.relu(self.conv1(self.norm1(x)))))


class Conv(Policy):
    """A policy that sees the pictures of one step.

    Args:
        size: width, the channels of every map, and depth, the number of blocks.
        observation_dim: channels, height and width of an observation; height and width 16 or more.
        action_dim: numbers in an action; actions lie in [-1, 1].
        context: ignored, it is 1.
        options: see :class:`Policy`. It has no tokens: ``rtg`` is ``"latest"`` or ``"none"``, ``past_actions`` and
            ``positions="episode"`` are refused.
    """

    down: nn.Module
    readout: nn.Module

    def __init__(self, size: Size, observation_dim: Sequence[int], action_dim: int, context: int = 1, **options: Any):
        super().__init__(size, observation_dim[0], action_dim, 1, **options)

    def normaliser(self, observation_dim: int) -> tuple[Tensor, Tensor]:
        """Of the channels, for bytes."""
        return byte_scale(observation_dim)

    def embeddings(self, width: int, observation_dim: int) -> dict[str, nn.Module]:
        """Everything around the blocks."""
        return {
            "embed_observation": Eye(observation_dim, width),
            "down": Spatial(width, width, 4, stride=2, padding=1),
            "readout": nn.Conv2d(width, width, MAP),
        }

    def block(self, size: Size, dropout: float) -> nn.Module:
        """Two convolutions."""
        return Block(size, dropout)

    def hidden(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """``(B, T, width)``."""
        x = F.relu(self.through(self.down(F.relu(states))))
        x = F.adaptive_avg_pool2d(x.flatten(0, 1).movedim(-1, 1), MAP)
        return F.relu(self.readout(x)).flatten(1).unflatten(0, states.shape[:2])


def byte_scale(channels: int) -> tuple[Tensor, Tensor]:
    """The normaliser that takes bytes to -1..1, a mean and a deviation ``(channels, 1, 1)``."""
    one = torch.ones(channels, 1, 1)
    return one * (DARK + BRIGHT) / 2, one * (BRIGHT - DARK) / 2


def picture_rules(tile: int) -> tuple[Rule, ...]:
    """The rules of what policies from pictures have in common; a kernel lies whole inside its templates.

    Only that of the readout is cut, into quarters: whole templates of it would be most of a bank.
    """
    square, maps = (tile, tile), ("stream", "stream", *SPACE)
    return (
        Rule(r"embed_observation\.weight", "embed", None, 1, ("stream", FIXED, *SPACE)),
        Rule(r"down\.weight", "down", (*square, 4, 4), 1, maps, 1),
        Rule(r"readout\.weight", "readout", (*square, QUARTER, QUARTER), 1, maps, 1),
        Rule(r"(down|readout)\.bias", "bias", None, 1, ("stream",)),
    )


def plan(tile: int) -> Plan:
    """The plan of the family."""
    whole = (tile, tile, 3, 3)
    return Plan(
        (
            Rule(BLOCK + r"conv1\.weight", "conv1", whole, 1, ("hidden", "stream", *SPACE), 1),
            Rule(BLOCK + r"conv1\.bias", "conv1", None, 1, ("hidden",)),
            Rule(BLOCK + r"conv2\.weight", "conv2", whole, 1, ("stream", "hidden", *SPACE), 1),
            Rule(BLOCK + r"conv2\.bias", "bias", None, 1, ("stream",)),
            *picture_rules(tile),
            *FREE_RULES,
        )
    )


# At 3e-3 a network of 96 or 128 channels may say the same of all pictures after a few steps, for ever.
MODELS.add("conv", Model(Conv, plan, ("head",), sees="pictures", window=1, most_lr=1e-3))
