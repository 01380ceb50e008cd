"""Attention over a band of steps, and the keys and values that then stand for the whole past.

A block of a decision transformer with ``attention="band"`` looks at the last ``band`` steps alone, so ``depth`` blocks
reach back ``depth * (band - 1) + 1`` of them. Windows that hold these, and positions that do not move with the window,
make what a token says once and for all the same: when acting, only the tokens of the newest step are computed.
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
    """Which tokens of a stream look at which.

    Attributes:
        steps: that a token sees, its own included.
        kinds: tokens a step.
        state: place of the state token inside a step; where it is not the last one, an action follows it.
    """

    steps: int
    kinds: int
    state: int

    @property
    def kept(self) -> int:
        """Tokens before the new ones that these look at; the first begins a step."""
        action_is_new = self.state < self.kinds - 1  # it was not known when its own step was new
        return self.steps * self.kinds - 1 if action_is_new else (self.steps - 1) * self.kinds

    def mask(self, tokens: int, device: torch.device) -> Tensor:
        """``(tokens, tokens)`` booleans of a window that begins with a step, True where a row looks at a column."""
        token = torch.arange(tokens, device=device)
        step = token // self.kinds
        return (token[:, None] >= token) & (step[:, None] - step < self.steps)

    def newest(self, times: Tensor) -> Tensor:
        """What is added to the scores of the new tokens at steps ``(n,)`` of the episode, 0 or minus infinity.

        What was before the episode is seen by nobody but itself, which keeps it finite.

        Returns:
            ``(n, 1, kinds, kept + kinds)`` float32.
        """
        seen, own, age = (torch.from_numpy(array).to(times.device) for array in _newest(self))
        there = age <= (times * self.kinds + self.state)[:, None, None, None]
        return torch.where((seen & there) | own, 0.0, -torch.inf)


@functools.lru_cache(maxsize=64)
def _newest(band: Band) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the new tokens' rows: what the band shows, the tokens themselves, and how many tokens ago a column was.

    Arrays, since a tensor that is kept would belong to the mode (inference, export) it was made in.
    """
    total = band.kept + band.kinds
    seen = band.mask(total, torch.device("cpu")).numpy()[-band.kinds :]
    return seen, np.eye(total, dtype=bool)[-band.kinds :], np.arange(total - 1, -1, -1)


def check_reach(band: int, depth: int, context: int, positions: str) -> None:
    """UserError unless windows hold all that the blocks see, at positions that stay."""
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
