"""Actions from a clip of frames, by a causal transformer over tubelets (ViViT, Arnab et al. 2021).

A tubelet is a square patch of a step's stacked frames. The tubelets of all steps form one sequence, in raster order and
step after step, as in Gato (Reed et al. 2022, arXiv 2205.06175). After the tubelets of a step comes a token that is a
linear map of them all, so that positions need not be learned by attention. The head reads the last token of a step.
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

CLIP = 4  # steps; with three stacked frames each, they show six frames


class Tubelets(nn.Linear):
    """A linear map of the patches of pictures, which are padded with black to a multiple of the patch.

    Args:
        picture: channels, height and width.
        width: length of an embedded tubelet.
    """

    def __init__(self, picture: Sequence[int], width: int):
        channels, *edges = picture
        self.patch = 16 if min(edges) >= 64 else 8
        self.missing = [-edge % self.patch for edge in edges]
        self.count = (edges[0] + self.missing[0]) * (edges[1] + self.missing[1]) // self.patch**2
        super().__init__(channels * self.patch**2, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, T, channels, height, width)`` in -1..1 to ``(B, T, tubelets, width)``."""
        below, beside = self.missing
        x = F.pad(x, (0, beside, 0, below), value=-1.0)
        cut = x.unfold(-2, self.patch, self.patch).unfold(-2, self.patch, self.patch)  # (B, T, C, rows, columns, p, p)
        return super().forward(cut.movedim(2, -3).flatten(-3).flatten(2, 3))


class Video(Policy):
    """A policy that reads the pictures of the last steps.

    A subclass may add ``more`` tokens per step after those of the pictures.

    Args:
        size: width and depth.
        observation_dim: channels, height and width of an observation.
        action_dim: length of an action; actions lie in [-1, 1].
        context: ignored; it is always ``CLIP``.
        options: see :class:`Policy`. Without tokens of returns and actions, ``rtg`` is ``"latest"`` or ``"none"``, and
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
        """Return mean and standard deviation of the channels, for bytes."""
        return byte_scale(observation_dim[0])

    def embeddings(self, width: int, observation_dim: Sequence[int]) -> dict[str, nn.Module]:
        """Make the embeddings of tubelets, their linear map, the places of tokens in a step, and the steps."""
        tubelets = Tubelets(observation_dim, width)
        readout = nn.Conv1d(width, width, tubelets.count)
        places, times = nn.Embedding(tubelets.count + 1 + self.more, width), nn.Embedding(CLIP, width)
        return {"embed_observation": tubelets, "readout": readout, "embed_place": places, "embed_time": times}

    def block(self, size: Size, dropout: float) -> nn.Module:
        """Make a block of the decision transformer."""
        return Block(size, dropout, self.activation)

    def embed(self, observations: Tensor) -> Tensor:
        """Embed the tubelets of each step and their linear map; ``(B, T, tubelets + 1, width)``."""
        return self.with_map(super().embed(observations))

    def with_map(self, tubelets: Tensor) -> Tensor:
        """Append the linear map of the tubelets ``(B, T, tubelets, width)`` to them."""
        mapped = self.readout(tubelets.flatten(0, 1).transpose(1, 2)).transpose(1, 2).unflatten(0, tubelets.shape[:2])
        return torch.cat([tubelets, mapped], dim=2)

    def hidden(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """Return the stream at the last token of each step, which attends to its whole step and to earlier ones."""
        steps, tokens = states.shape[1:3]
        stream = states + self.embed_place.weight + self.embed_time.weight[:steps, None]
        return self.run_blocks(stream.flatten(1, 2))[:, tokens - 1 :: tokens]


def plan(tile: int) -> Plan:
    """Make the plan of the family: the decision transformer's, with tubelets and their map composed, too."""
    own = (
        Rule(r"embed_observation\.weight", "embed", (tile, tile), 1, ("stream", FIXED), 1),
        Rule(r"readout\.weight", "readout", (tile, tile, QUARTER), 1, ("stream", "stream", FIXED), 1),
        Rule(r"readout\.bias", "bias", None, 1, ("stream",)),
        Rule(r"embed_place\.weight", "place", None, 1, (FIXED, "stream")),
    )
    return Plan((*own, *transformer_plan(tile).rules))


MODELS.add("video", Model(Video, plan, ("head",), sees="pictures", window=CLIP))
