"""Environments seen in pictures by their names, ``HalfCheetah:pixels=64``: the last three frames, uint8.

``HalfCheetah:pixels=64+state`` gives the state as well, for models that see both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weit_rl.common.errors import UserError

if TYPE_CHECKING:
    from gymnasium.spaces import Box

WORD, BESIDE = ":pixels=", "+state"
EDGE, EDGES = 64, (16, 512)  # of a picture where nobody says another; the least and the most
STACK = 3  # frames an observation holds: one shows no velocity, two no acceleration


def split_pixels(name: str) -> tuple[str, int | None]:
    """An environment's name without its last part, and the edge of its pictures, pixels (None: it is seen by states).

    Raises:
        UserError: for an edge that is no number, or out of range.
    """
    env, word, text = name.removesuffix(BESIDE).partition(WORD)
    if word and not (text.isdecimal() and EDGES[0] <= int(text) <= EDGES[1]):
        least, most = EDGES
        raise UserError(f"env {name}: pixels={text} must be {least} to {most}, at the end of the name, {env}{WORD}64")
    return env, int(text) if word else None


def with_pixels(env: str, asked: bool | int) -> str:
    """The name of an environment seen as an option asks: an edge in pixels, True for 64; False changes nothing."""
    if asked is False:
        return env
    name = f"{split_pixels(env)[0]}{WORD}{EDGE if asked is True else asked}"
    split_pixels(name)
    return name


def frames(edge: int) -> Box:
    """The space of one frame, colours first, as data sets store them."""
    from gymnasium import spaces

    return spaces.Box(0, 255, (3, edge, edge), np.uint8)
