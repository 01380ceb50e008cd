"""A pre-norm block of self-attention: over a whole window, for its last tokens only, or over keys and values kept."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.models.activations import RELU
from weit_rl.models.feed_forward import FeedForward

TAIL = 4  # tokens that the last block computes when acting; its products have at least twice as many rows


class Block(FeedForward):
    """Pre-norm attention and MLP, as in GPT-2."""

    norm1: nn.LayerNorm
    qkv: nn.Linear
    out: nn.Linear

    def __init__(self, size: Size, dropout: float = 0.0, activation: str = RELU):
        width = size.width
        mixing = {"norm1": nn.LayerNorm(width), "qkv": nn.Linear(width, 3 * width), "out": nn.Linear(width, width)}
        super().__init__(size, dropout, activation, **mixing)
        self.head_dim = size.head_dim

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute all tokens; ``(B, T, width) -> (B, T, width)``.

        Args:
            x: the tokens.
            mask: ``(T, T)`` booleans, True where a row attends to a column (default: each to itself and the past).
        """
        B, T, _ = x.shape
        qkv = self.qkv(self.norm1(x)).view(B, T, 3, -1, self.head_dim)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # each (B, heads, T, head_dim)
        return self.finish(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None))

    def last_tokens(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the last tokens only; ``(B, T, width) -> (B, tail, width)``, with ``mask`` as in :meth:`forward`.

        One token would be enough. With a few more, matrix products use the same kernels as for all tokens, so that the
        last token is the same to the last bit (measured on x86-64). Over an episode, a difference would soon grow.
        """
        (B, T, width), tokens = x.shape, self.norm1(x)
        tail = min(T, max(TAIL, 2 * TAIL // B))
        mask = torch.ones(T, T, dtype=torch.bool, device=x.device).tril() if mask is None else mask
        q = F.linear(tokens[:, -tail:].contiguous(), self.qkv.weight[:width], self.qkv.bias[:width])
        keys_values = F.linear(tokens, self.qkv.weight[width:], self.qkv.bias[width:])
        return self.attend(x[:, -tail:].contiguous(), q, keys_values, mask[-tail:])

    def with_past(self, x: Tensor, past: Tensor, mask: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """Compute new tokens, which attend to each other and to the keys and values of earlier ones.

        Args:
            x: the new tokens, ``(B, new, width)``.
            past: keys and values of earlier tokens, ``(B, kept, 2 * width)``.
            mask: what is added to the scores, ``(B, 1, new, kept + new)``.
            last: whether only the last new token is computed.

        Returns:
            The new tokens, or the last one, and the keys and values to pass on, of the shape of ``past``.
        """
        width, kept = x.shape[-1], past.shape[1]
        qkv = self.qkv(self.norm1(x))
        keys_values = torch.cat([past, qkv[..., width:]], dim=1)
        new = slice(-1, None) if last else slice(None)
        x = self.attend(x[:, new], qkv[:, new, :width], keys_values, mask[:, :, new])
        return x, keys_values[:, keys_values.shape[1] - kept :]

    def attend(self, x: Tensor, q: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
        """Compute tokens ``x`` with queries ``q``, both ``(B, T, width)``, over the keys and values of more tokens."""
        (B, T, width), head_dim = q.shape, self.head_dim
        q = q.view(B, T, -1, head_dim).transpose(1, 2)
        k, v = keys_values.view(B, -1, 2, width // head_dim, head_dim).permute(2, 0, 3, 1, 4)
        return self.finish(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Compute the rest of the block from what was attended to, ``(B, heads, T, head_dim)``."""
        B, _, T, _ = attended.shape
        return super().forward(x + self.dropout(self.out(attended.transpose(1, 2).reshape(B, T, -1))))
