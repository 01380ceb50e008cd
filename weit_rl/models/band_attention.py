"""Attention over a band of steps, and the keys and values that then replace the window.

With ``attention="band"``, a block of a decision transformer attends to the last ``band`` steps only. So ``depth``
blocks reach back ``depth * (band - 1) + 1`` steps. If a window holds them all, and positions do not move with the
window, the keys and values of a token never change. When acting, only the tokens of the newest step are computed.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weit_rl.common.errors import UserError


@dataclass(frozen=True)
class Band:
    """The order of the tokens in a stream, and which of them attend to which.

    Attributes:
        steps: number of steps that a token attends to, its own included.
        kinds: number of tokens per step.
        state: index of the state token inside a step; an action follows it unless it is the last one.
    """

    steps: int
    kinds: int
    state: int

    @property
    def past_tokens(self) -> int:
        """Return how many earlier tokens the new ones attend to; the first of them begins a step."""
        action_is_new = self.state < self.kinds - 1  # it was not known yet when its own step was the newest
        return self.steps * self.kinds - 1 if action_is_new else (self.steps - 1) * self.kinds

    def mask(self, tokens: int, device: torch.device) -> Tensor:
        """Make the mask of a window that begins with a step.

        Returns:
            ``(tokens, tokens)`` booleans, True where a row attends to a column.
        """
        token = torch.arange(tokens, device=device)
        step = token // self.kinds
        return (token[:, None] >= token) & (step[:, None] - step < self.steps)

    def newest_mask(self, times: Tensor) -> Tensor:
        """Make what is added to the attention scores of the new tokens: 0, or minus infinity.

        Tokens from before the episode are attended to by themselves only, which keeps their softmax finite.

        Args:
            times: ``(n,)``, the step inside the episode.

        Returns:
            ``(n, 1, kinds, past_tokens + kinds)`` float32.
        """
        seen, own, age = (torch.from_numpy(array).to(times.device) for array in _newest_rows(self))
        there = age <= (times * self.kinds + self.state)[:, None, None, None]
        return torch.where((seen & there) | own, 0.0, -torch.inf)


@functools.lru_cache(maxsize=64)
def _newest_rows(band: Band) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three facts about the rows of the new tokens.

    They are NumPy arrays, since a cached tensor would belong to the mode (inference, export) that it was made in.

    Returns:
        Booleans of the columns inside the band, booleans of the token itself, and the age of every column in tokens.
    """
    total = band.past_tokens + band.kinds
    seen = band.mask(total, torch.device("cpu")).numpy()[-band.kinds :]
    return seen, np.eye(total, dtype=bool)[-band.kinds :], np.arange(total - 1, -1, -1)


def check_reach(band: int, depth: int, context: int, positions: str) -> None:
    """Refuse windows shorter than the reach of all blocks, and positions that move with the window.

    Raises:
        UserError: for either of them, or a band of less than 1 step.
    """
    reach = depth * (band - 1) + 1
    if band < 1:
        raise UserError(f"band={band}: must be 1 step or more")
    if context < reach:
        most = (context - 1) // depth + 1
        raise UserError(
            f"band={band}: {depth} blocks see {reach} steps, and windows hold context={context}; give context={reach}, "
            f"or band={most} or less"
        )
    if positions == "window":
        raise UserError("attention=band: positions inside a window move with it; give positions=none or episode")
