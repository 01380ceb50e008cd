"""Multimodal control, from states and pictures together.

It is the video transformer with one more token per step, the state. That token is the last of its step, so the head
reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.models.conv import BRIGHT, DARK
from weit_rl.models.registry import BOTH, MODELS, Model
from weit_rl.models.video import CLIP, Video
from weit_rl.models.video import plan as video_plan


class Multimodal(Video):
    """A policy that reads the states and pictures of the last steps.

    Args:
        size: width and depth.
        observation_dim: length of a state, then channels, height and width of the pictures. An observation is flat: the
            state in raw units, then the bytes of the pictures.
        action_dim: length of an action; actions lie in [-1, 1].
        context: ignored; it is always ``CLIP``.
        options: those of :class:`Video`.
    """

    more: ClassVar[int] = 1
    embed_state: nn.Linear

    def __init__(
        self, size: Size, observation_dim: Sequence[int], action_dim: int, context: int = CLIP, **options: Any
    ):
        self.state, *self.picture = observation_dim
        super().__init__(size, observation_dim, action_dim, context, **options)

    def normaliser(self, observation_dim: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the state."""
        return torch.zeros(observation_dim[0]), torch.ones(observation_dim[0])

    def embeddings(self, width: int, observation_dim: Sequence[int]) -> dict[str, nn.Module]:
        """Make the embeddings of pictures and state."""
        state, *picture = observation_dim
        return super().embeddings(width, picture) | {"embed_state": nn.Linear(state, width)}

    def embed(self, observations: Tensor) -> Tensor:
        """Embed the tubelets of each step, their linear map, and the state; ``(B, T, tubelets + 2, width)``."""
        state, pixels = observations.split([self.state, observations.shape[-1] - self.state], dim=-1)
        state = self.embed_state(self.normalised(state))
        frames = (2 * pixels - (DARK + BRIGHT)) / (BRIGHT - DARK)
        seen = self.with_map(self.embed_observation(frames.unflatten(-1, self.picture)))
        return torch.cat([seen, state.unsqueeze(2)], dim=2)


def plan(tile: int) -> Plan:
    """Make the plan of the family: the video transformer's, with a free embedding of the state."""
    own = (
        Rule(r"embed_state\.weight", "embed", None, 1, ("stream", FIXED)),
        Rule(r"embed_state\.bias", "embed", None, 1, ("stream",)),
    )
    return Plan((*own, *video_plan(tile).rules))


MODELS.add("multimodal", Model(Multimodal, plan, ("embed_state", "head"), sees=BOTH, window=CLIP))
