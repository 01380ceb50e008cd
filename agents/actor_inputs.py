"""What an actor's network is given of an observation: pictures, or numbers in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN

from weit_rl.common.errors import UserError

ENCODED = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)  # by Stable-Baselines3, as numbers
COLOURS = 4  # the most channels of a single picture
FAR = 1e10  # a layer norm squares what it is given, and float32 ends at 3e38
PLAIN = (FlattenExtractor, CombinedExtractor)  # they lay numbers in a row


@dataclass(frozen=True)
class ActorInput:
    """What enters a network.

    Attributes:
        space: of the observations.
        shape: numbers in a row; of pictures ``[channels, 1, 1]``.
        scale: what pictures are multiplied by first, which networks see from 0 to 255.
        front: the features extractor before the network; None where observations enter as they are.
        own: whether these are the environment's own numbers, which a bank may know.
    """

    space: spaces.Space
    shape: int | list[int]
    scale: float = 1.0
    front: BaseFeaturesExtractor | None = None
    own: bool = True

    @classmethod
    def of(cls, space: spaces.Space, scaled_here: bool, kind: type, options: dict[str, Any]) -> ActorInput:
        """What enters where a features extractor is asked for.

        Args:
            space: a Box, Discrete, MultiDiscrete or MultiBinary, or a Dict of these.
            scaled_here: Stable-Baselines3's ``normalize_images``: whether it divides pictures by 255.
            kind: class of the features extractor. What is usual for the space leaves pictures and flat Boxes alone.
            options: its keyword arguments.
        """
        if is_picture(space, scaled_here) and kind is NatureCNN:  # which is the critics' alone
            return cls(space, [space.shape[0], 1, 1], _picture_scale(space, scaled_here))  # type: ignore[index,arg-type]
        if kind is FlattenExtractor and isinstance(space, spaces.Box) and len(space.shape) == 1:
            return cls(space, space.shape[0])
        front = kind(space, **options)
        plain = kind in PLAIN and not any(True for _ in front.parameters())
        return cls(space, front.features_dim, front=front, own=plain)

    @property
    def far(self) -> bool:
        """Whether the space names bounds so far that what lies there would be infinite in a network."""
        parts = self.space.spaces.values() if isinstance(self.space, spaces.Dict) else [self.space]
        bounds = [np.abs(bound) for part in parts if isinstance(part, spaces.Box) for bound in (part.low, part.high)]
        return any(bool((np.isfinite(bound) & (bound > FAR)).any()) for bound in bounds)

    @property
    def pictures(self) -> bool:
        """Whether a network for pictures is needed."""
        return isinstance(self.shape, list)


def is_picture(space: spaces.Space, scaled_here: bool) -> bool:
    """Whether a space holds pictures: bytes, or any Box of three axes that Stable-Baselines3 shall not scale."""
    return is_image_space(space, normalized_image=not scaled_here)


def usual_extractor(space: spaces.Space, scaled_here: bool) -> type[BaseFeaturesExtractor]:
    """What Stable-Baselines3's own policies read a space with.

    Raises:
        UserError: for a space that none of them reads, or pictures with their channels last.
    """
    parts = list(space.spaces.values()) if isinstance(space, spaces.Dict) else [space]
    if not all(isinstance(part, ENCODED) for part in parts):
        raise UserError(
            f"observation space {space}: WeiTPolicy takes a Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of "
            "these; wrap the environment in gymnasium.wrappers.FlattenObservation"
        )
    if isinstance(space, spaces.Dict):
        return CombinedExtractor
    if not is_picture(space, scaled_here):
        return FlattenExtractor
    channels_last = space.shape[2] <= COLOURS < min(space.shape[:2])  # type: ignore[index]
    if channels_last and not is_image_space(space):  # bytes are transposed by Stable-Baselines3
        raise UserError(f"observation space {space}: pictures have their channels first; transpose them")
    return NatureCNN


def _picture_scale(space: spaces.Box, scaled_here: bool) -> float:
    """255 for what has been divided by that, here or beforehand."""
    beforehand = bool((space.low == 0).all() and (space.high == 1).all())
    return 255.0 if scaled_here or beforehand else 1.0
