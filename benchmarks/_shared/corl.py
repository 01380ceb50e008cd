"""A decision transformer and its batches in the manner of CORL, the peer in benchmarks/training_speed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from weit_rl import Size
from weit_rl.data import Trajectories


class PlainBlock(nn.Module):
    """A pre-norm transformer block with ``nn.MultiheadAttention``, a causal mask and GELU."""

    def __init__(self, size: Size, tokens: int):
        super().__init__()
        width = size.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, width // size.head_dim, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.register_buffer("mask", ~torch.tril(torch.ones(tokens, tokens)).to(bool))

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """Return ``(B, T, width)``.

        Args:
            x: tokens, ``(B, T, width)``.
            padding: ``(B, T)``, True for tokens that attention ignores.
        """
        y = self.norm1(x)
        mask = self.mask[: x.shape[1], : x.shape[1]]
        x = x + self.attention(y, y, y, attn_mask=mask, key_padding_mask=padding, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class PlainTransformer(nn.Module):
    """A decision transformer over return, state and action tokens with one embedding of the time step."""

    def __init__(self, size: Size, observation_dim: int, action_dim: int, context: int, max_steps: int = 1000):
        super().__init__()
        width = size.width
        self.time = nn.Embedding(max_steps, width)
        self.state, self.action, self.ret = (nn.Linear(n, width) for n in (observation_dim, action_dim, 1))
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(PlainBlock(size, 3 * context) for _ in range(size.depth))
        self.head = nn.Sequential(nn.Linear(width, action_dim), nn.Tanh())

    def forward(self, states: Tensor, actions: Tensor, returns: Tensor, times: Tensor, padding: Tensor) -> Tensor:
        """Predict the actions of every time step, ``(B, T, action_dim)``."""
        time = self.time(times)
        parts = [self.ret(returns.unsqueeze(-1)) + time, self.state(states) + time, self.action(actions) + time]
        B, T, width = time.shape
        x = torch.stack(parts, dim=1).permute(0, 2, 1, 3).reshape(B, 3 * T, width)
        pad = torch.stack([padding] * 3, dim=1).permute(0, 2, 1).reshape(B, 3 * T)
        x = self.norm_in(x)
        for block in self.blocks:
            x = block(x, pad)
        actions_of_all: Tensor = self.head(self.norm_out(x)[:, 1::3])
        return actions_of_all


class OneByOne:
    """Batches of windows that Python draws, pads and stacks one by one."""

    def __init__(self, data: Trajectories, batch: int, context: int):
        self.batch, self.context = batch, context
        self.data, self.rng, self.to_go = data, np.random.default_rng(0), data.returns_to_go()
        self.shares = data.lengths / data.steps
        self.mean, self.std = data.statistics()

    def __call__(self) -> tuple[Tensor, ...]:
        """Draw a batch: observations, actions, returns-to-go, time steps, and a mask that is False for padding."""
        return tuple(
            torch.from_numpy(np.stack(parts)) for parts in zip(*(self.one() for _ in range(self.batch)), strict=True)
        )

    def one(self) -> tuple[np.ndarray, ...]:
        """Draw one window."""
        episode = self.rng.choice(self.data.episodes, p=self.shares)
        begin = self.data.starts[episode] + self.rng.integers(self.data.lengths[episode])
        span = slice(begin, min(begin + self.context, self.data.starts[episode + 1]))
        missing = self.context - (span.stop - span.start)
        states = (self.data.observations[span] - self.mean) / self.std
        arrays = [states, self.data.actions[span], self.to_go[span] / 1000]
        padded = [np.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)).astype(np.float32) for a in arrays]
        times = np.arange(self.context) + (begin - self.data.starts[episode])
        return (*padded, np.minimum(times, 999), np.arange(self.context) < self.context - missing)
