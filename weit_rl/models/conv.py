"""Behaviour cloning from pictures: a convolutional policy with the first layers of Nature DQN and blocks as in IMPALA.

The first layers reduce the picture's edge to an eighth, and all blocks work at that resolution. A convolution as large
as the map reads their output, like the flat layer of Nature DQN and IMPALA, so that positions are preserved. Inside the
network, channels are the last axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.models.activations import RELU
from weit_rl.models.policy import Policy
from weit_rl.models.policy_rules import BLOCK, FREE_RULES
from weit_rl.models.registry import MODELS, Model

MAP, QUARTER = 8, 4  # edges of the map that the readout reads, for pictures of any size, and of the readout's templates
SPACE = (FIXED, FIXED)
DARK, BRIGHT = 0.0, 255.0


class FirstConv(nn.Conv2d):
    """The first convolution; it takes pictures with channels first."""

    def __init__(self, channels: int, width: int):
        super().__init__(channels, width, kernel_size=8, stride=4, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, T, channels, height, width)`` to ``(B, T, height / 4, width / 4, channels)``."""
        pictures = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return super().forward(pictures).movedim(1, -1).unflatten(0, x.shape[:2])


class ChannelsLastConv(nn.Conv2d):
    """A convolution over height and width of maps with channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(B, T, height, width, channels)``."""
        return super().forward(x.flatten(0, 1).movedim(-1, 1)).movedim(1, -1).unflatten(0, x.shape[:2])


class Block(nn.Module):
    """A norm and two convolutions, as in IMPALA.

    Args:
        size: of the network.
        dropout: share of the branch's output that is dropped in training (default 0).
    """

    def __init__(self, size: Size, dropout: float = 0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width)
        self.conv1 = ChannelsLastConv(size.width, size.width, 3, padding=1)
        self.conv2 = ChannelsLastConv(size.width, size.width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Compute every step by itself; ``(B, T, height, width, channels)``."""
        return x + self.dropout(self.conv2(F.relu(self.conv1(self.norm1(x)))))


class Conv(Policy):
    """A policy that reads the pictures of one step.

    Args:
        size: width, the channels of every map, and depth, the number of blocks.
        observation_dim: channels, height and width of an observation; height and width 16 or more.
        action_dim: length of an action; actions lie in [-1, 1].
        context: ignored; it is always 1.
        options: see :class:`Policy`. Without tokens, ``rtg`` is ``"latest"`` or ``"none"``, and ``past_actions`` and
            ``positions="episode"`` are refused.
    """

    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {**Policy.choices, "activation": (RELU,)}

    down: nn.Module
    readout: nn.Module

    def __init__(self, size: Size, observation_dim: Sequence[int], action_dim: int, context: int = 1, **options: Any):
        super().__init__(size, observation_dim[0], action_dim, 1, **options)

    def normaliser(self, observation_dim: int) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the channels, for bytes."""
        return byte_scale(observation_dim)

    def embeddings(self, width: int, observation_dim: int) -> dict[str, nn.Module]:
        """Make all layers before and after the blocks."""
        return {
            "embed_observation": FirstConv(observation_dim, width),
            "down": ChannelsLastConv(width, width, 4, stride=2, padding=1),
            "readout": nn.Conv2d(width, width, MAP),
        }

    def block(self, size: Size, dropout: float) -> nn.Module:
        """Make a block of two convolutions."""
        return Block(size, dropout)

    def hidden(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """Return the features of every step, ``(B, T, width)``."""
        x = F.relu(self.run_blocks(self.down(F.relu(states))))
        x = F.adaptive_avg_pool2d(x.flatten(0, 1).movedim(-1, 1), MAP)
        return F.relu(self.readout(x)).flatten(1).unflatten(0, states.shape[:2])


def byte_scale(channels: int) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation ``(channels, 1, 1)`` that map bytes to -1..1."""
    one = torch.ones(channels, 1, 1)
    return one * (DARK + BRIGHT) / 2, one * (BRIGHT - DARK) / 2


def picture_rules(tile: int) -> tuple[Rule, ...]:
    """Return the rules that policies from pictures share; a template holds a whole kernel.

    Only the readout's kernel is cut, into quarters. Templates of its whole kernel would be most of a bank.
    """
    square, maps = (tile, tile), ("stream", "stream", *SPACE)
    return (
        Rule(r"embed_observation\.weight", "embed", None, 1, ("stream", FIXED, *SPACE)),
        Rule(r"down\.weight", "down", (*square, 4, 4), 1, maps, 1),
        Rule(r"readout\.weight", "readout", (*square, QUARTER, QUARTER), 1, maps, 1),
        Rule(r"(down|readout)\.bias", "bias", None, 1, ("stream",)),
    )


def plan(tile: int) -> Plan:
    """Make the plan of the family."""
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


# At 3e-3, networks of 96 or 128 channels can collapse in a few steps: they predict one action for all pictures.
MODELS.add("conv", Model(Conv, plan, ("head",), sees="pictures", window=1, max_lr=1e-3))
