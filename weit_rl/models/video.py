"""Video: actions from a clip of frames, by a causal transformer over tubelets (ViViT, Arnab et al. 2021).

A tubelet is a square patch of a step's stacked frames; those of all steps of the clip are one sequence, in raster order
and step after step, as Gato's (Reed et al. 2022, arXiv 2205.06175). Behind those of a step comes a linear map of them
all, so that where something is need not be learned by attention. The last token of a step is the one that is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.models.attention import Block
from weit_rl.models.conv import QUARTER, byte_scale
from weit_rl.models.decision_transformer import plan as transformer_plan
from weit_rl.models.policy import Policy
from weit_rl.models.registry import MODELS, Model

CLIP = 4  # steps; with the frames that each of them stacks, six frames


class Tubelets(nn.Linear):
    """Cuts pictures into patches, with darkness beside what is no multiple of them, and maps each linearly.

    Args:
        picture: channels, height and width.
        width: numbers that a tubelet becomes.
    """

    def __init__(self, picture: Sequence[int], width: int):
        channels, *edges = picture
        self.patch = 16 if min(edges) >= 64 else 8
        self.missing = [-edge % self.patch for edge in edges]
        self.count = (edges[0] + self.missing[0]) * (edges[1] + self.missing[1]) // self.patch**2
        super().__init__(channels * self.patch**2, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, channels, height, width)`` in -1..1 to ``(B, T, tubelets, width)``."""
        below, beside = self.missing
        x = F.pad(x, (0, beside, 0, below), value=-1.0)
        cut = x.unfold(-2, self.patch, self.patch).unfold(-2, self.patch, self.patch)  # (B, T, C, rows, columns, p, p)
        return super().forward(cut.movedim(2, -3).flatten(-3).flatten(2, 3))


class Video(Policy):
    """A policy that sees the pictures of the last steps.

    A subclass with ``more`` tokens for each step has them behind those of the pictures.

    Args:
        size: width and depth.
        observation_dim: channels, height and width of an observation.
        action_dim: numbers in an action; actions lie in [-1, 1].
        context: ignored, it is ``CLIP``.
        options: see :class:`Policy`. It has no tokens of returns or actions: ``rtg`` is ``"latest"`` or ``"none"``,
            ``past_actions`` and ``positions="episode"`` are refused.
    """

    more: ClassVar[int] = 0
    embed_observation: Tubelets
    readout: nn.Conv1d
    embed_place: nn.Embedding
    embed_time: nn.Embedding

    def __init__(
        self, size: Size, observation_dim: Sequence[int], action_dim: int, context: int = CLIP, **options: Any
    ):
        super().__init__(size, observation_dim, action_dim, CLIP, **options)  # type: ignore[arg-type]

    def normaliser(self, observation_dim: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Of the channels, for bytes."""
        return byte_scale(observation_dim[0])

    def embeddings(self, width: int, observation_dim: Sequence[int]) -> dict[str, nn.Module]:
        """Of tubelets, of all of them together, of the places of a step's tokens, and of steps."""
        tubelets = Tubelets(observation_dim, width)
        readout = nn.Conv1d(width, width, tubelets.count)
        places, times = nn.Embedding(tubelets.count + 1 + self.more, width), nn.Embedding(CLIP, width)
        return {"embed_observation": tubelets, "readout": readout, "embed_place": places, "embed_time": times}

    def block(self, size: Size, dropout: float) -> nn.Module:
        """The decision transformer's."""
        return Block(size, dropout)

    def embed(self, observations: Tensor) -> Tensor:
        """``(B, T, tubelets + 1, width)``: the tubelets of each step, and their map."""
        return self.with_map(super().embed(observations))

    def with_map(self, tubelets: Tensor) -> Tensor:
        """The tubelets ``(B, T, tubelets, width)`` and behind them their map."""
        mapped = self.readout(tubelets.flatten(0, 1).transpose(1, 2)).transpose(1, 2).unflatten(0, tubelets.shape[:2])
        return torch.cat([tubelets, mapped], dim=2)

    def hidden(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """The stream at the last token of each step; causal, so it has seen the others of its step and none later."""
        steps, tokens = states.shape[1:3]
        stream = states + self.embed_place.weight + self.embed_time.weight[:steps, None]
        return self.through(stream.flatten(1, 2))[:, tokens - 1 :: tokens]


def plan(tile: int) -> Plan:
    """The plan of the family: the decision transformer's, with tubelets and their map composed like all else."""
    own = (
        Rule(r"embed_observation\.weight", "embed", (tile, tile), 1, ("stream", FIXED), 1),
        Rule(r"readout\.weight", "readout", (tile, tile, QUARTER), 1, ("stream", "stream", FIXED), 1),
        Rule(r"readout\.bias", "bias", None, 1, ("stream",)),
        Rule(r"embed_place\.weight", "place", None, 1, (FIXED, "stream")),
    )
    return Plan((*own, *transformer_plan(tile).rules))


MODELS.add("video", Model(Video, plan, ("head",), sees="pictures", window=CLIP))
