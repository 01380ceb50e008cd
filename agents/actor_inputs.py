"""The input of an actor's network, derived from the observation space: pictures, or a vector of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN

from weit_rl.common.errors import UserError

ENCODED = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)  # Stable-Baselines3 makes numbers
COLOURS = 4  # largest number of channels in a single picture
FAR = 1e10  # largest input of a network: layer norm squares it, and float32 ends at 3e38
PLAIN = (FlattenExtractor, CombinedExtractor)  # extractors that only concatenate numbers


@dataclass(frozen=True)
class ActorInput:
    """The input of an actor's network.

    Attributes:
        space: of the observations.
        shape: number of values, or ``[channels, 1, 1]`` of pictures.
        scale: factor for pictures, since networks expect values from 0 to 255.
        front: the features extractor before the network; None if observations enter unchanged.
        own: True if the values are the environment's own, which a bank may know.
    """

    space: spaces.Space
    shape: int | list[int]
    scale: float = 1.0
    front: BaseFeaturesExtractor | None = None
    own: bool = True

    @classmethod
    def of(cls, space: spaces.Space, scaled_here: bool, kind: type, options: dict[str, Any]) -> ActorInput:
        """Return the input of a network for a space and a features extractor.

        Args:
            space: a Box, Discrete, MultiDiscrete or MultiBinary, or a Dict of these.
            scaled_here: Stable-Baselines3's ``normalize_images``: whether it divides pictures by 255.
            kind: class of the features extractor. The default extractor of a space leaves pictures and flat Boxes
                unchanged.
            options: its keyword arguments.
        """
        if is_picture(space, scaled_here) and kind is NatureCNN:  # which only critics use
            return cls(space, [space.shape[0], 1, 1], _picture_scale(space, scaled_here))  # type: ignore[index,arg-type]
        if kind is FlattenExtractor and isinstance(space, spaces.Box) and len(space.shape) == 1:
            return cls(space, space.shape[0])
        front = kind(space, **options)
        plain = kind in PLAIN and not any(True for _ in front.parameters())
        return cls(space, front.features_dim, front=front, own=plain)

    @property
    def far(self) -> bool:
        """Return True if the space has finite bounds so large that such values would become infinite in a network."""
        parts = self.space.spaces.values() if isinstance(self.space, spaces.Dict) else [self.space]
        bounds = [np.abs(bound) for part in parts if isinstance(part, spaces.Box) for bound in (part.low, part.high)]
        return any(bool((np.isfinite(bound) & (bound > FAR)).any()) for bound in bounds)

    @property
    def pictures(self) -> bool:
        """Return True if a network for pictures is needed."""
        return isinstance(self.shape, list)


def is_picture(space: spaces.Space, scaled_here: bool) -> bool:
    """Return True if a space holds pictures: bytes, or any Box of three axes that Stable-Baselines3 does not scale."""
    return is_image_space(space, normalized_image=not scaled_here)


def usual_extractor(space: spaces.Space, scaled_here: bool) -> type[BaseFeaturesExtractor]:
    """Return the features extractor that Stable-Baselines3's own policies use for a space.

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
    """Return 255 for pictures that were divided by 255, here or beforehand."""
    beforehand = bool((space.low == 0).all() and (space.high == 1).all())
    return 255.0 if scaled_here or beforehand else 1.0
