"""Environments seen in pictures, by names such as ``HalfCheetah:pixels=64``: the last three frames, uint8.

``HalfCheetah:pixels=64+state`` adds the state, for models that see both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weit_rl.common.errors import UserError

if TYPE_CHECKING:
    from gymnasium.spaces import Box

WORD, BESIDE = ":pixels=", "+state"
EDGE, EDGES = 64, (16, 512)  # default edge of a picture, and the allowed range, pixels
STACK = 3  # frames in an observation: one shows no velocity, two show no acceleration


def split_pixels(name: str) -> tuple[str, int | None]:
    """Split an environment's name into the name without pictures and the edge of the pictures (None: it shows states).

    Raises:
        UserError: if the edge is no number, or out of range.
    """
    env, word, text = name.removesuffix(BESIDE).partition(WORD)
    if word and not (text.isdecimal() and EDGES[0] <= int(text) <= EDGES[1]):
        least, most = EDGES
        raise UserError(f"env {name}: pixels={text} must be {least} to {most}, at the end of the name, {env}{WORD}64")
    return env, int(text) if word else None


def with_pixels(env: str, asked: bool | int) -> str:
    """Add pictures to the name of an environment: an edge in pixels, True for 64; False changes nothing."""
    if asked is False:
        return env
    name = f"{split_pixels(env)[0]}{WORD}{EDGE if asked is True else asked}"
    split_pixels(name)
    return name


def frames(edge: int) -> Box:
    """Return the space of one frame, colours first, as data sets store it."""
    from gymnasium import spaces

    return spaces.Box(0, 255, (3, edge, edge), np.uint8)
