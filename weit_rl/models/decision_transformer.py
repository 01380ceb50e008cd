"""Decision transformer (Chen et al. 2021): actions as a sequence model of returns-to-go, states and actions.

``rtg="every"`` is the original token stream (return-to-go, state, action). ``rtg="latest"`` drops those tokens and
lets the newest return-to-go scale and shift the last hidden state (after DDT): a third less to compute.
Windows are padded on the right, so causal attention alone keeps padding out and no mask is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.models import MODELS, Model
from weit_rl.models.policy import BLOCK, BOUND, POSITIONS, RTG, FeedForward, Policy, shared_rules
from weit_rl.plan import FIXED, Plan, Rule
from weit_rl.sizes import Size


class Block(FeedForward):
    """Pre-norm attention and MLP, as GPT-2's."""

    norm1: nn.LayerNorm
    qkv: nn.Linear
    out: nn.Linear

    def __init__(self, size: Size, dropout: float = 0.0):
        width = size.width
        mixing = {"norm1": nn.LayerNorm(width), "qkv": nn.Linear(width, 3 * width), "out": nn.Linear(width, width)}
        super().__init__(size, dropout, **mixing)
        self.head_dim = size.head_dim

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, width) -> (B, T, width)``, causal."""
        B, T, _ = x.shape
        qkv = self.qkv(self.norm1(x)).view(B, T, 3, -1, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, head_dim)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return super().forward(x + self.dropout(self.out(attended.transpose(1, 2).reshape(B, T, -1))))


class DecisionTransformer(Policy):
    """A token for every state, and for returns-to-go and past actions where they are asked for.

    Args:
        size: width and depth.
        observation_dim: numbers in an observation.
        action_dim: numbers in an action; actions lie in [-1, 1].
        context: time steps the network sees, K (default 20).
        max_steps: length of the longest episode, the rows of the time-step table (default 1000).
        positions: ``"window"`` (default) numbers the steps of a window; ``"episode"`` is the original's absolute
            time step, a table of ``max_steps`` rows by which a network can recognise single episodes.
        rtg: ``"every"`` (a return-to-go token a step), ``"latest"`` (default) or ``"none"`` (plain behaviour cloning).
        past_actions: whether past actions are tokens (default False: a policy that sees what it did learns to
            repeat it, and the sequence is half as long).
        dropout: share of what each branch adds to the stream that is left out in training (default 0).
    """

    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "rtg": RTG,
        "past_actions": (False, True),
        "positions": POSITIONS,
    }

    embed_time: nn.Embedding
    embed_action: nn.Linear
    embed_return: nn.Linear

    def embeddings(self, width: int, observation_dim: int) -> dict[str, nn.Module]:
        """Of time, states and the other tokens."""
        rows = self.context if self.positions == "window" else self.max_steps
        modules = {"embed_time": nn.Embedding(rows, width), "embed_observation": nn.Linear(observation_dim, width)}
        if self.past_actions:
            modules["embed_action"] = nn.Linear(self.action_dim, width)
        if self.rtg == "every":
            modules["embed_return"] = nn.Linear(1, width)
        return modules

    def block(self, size: Size, dropout: float) -> nn.Module:
        """Attention and MLP."""
        return Block(size, dropout)

    def hidden(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """The stream at the state tokens."""
        if self.positions == "window":
            timesteps = torch.arange(states.shape[1], device=states.device)
        time = self.embed_time(timesteps.clamp_max(self.embed_time.num_embeddings - 1))
        states = states + time
        stream = [self.embed_return(returns) + time, states] if self.rtg == "every" else [states]
        state = len(stream) - 1
        if self.past_actions:
            stream.append(self.embed_action(actions) + time)
        # (B, kinds * T, width); causal, so no step sees its own action, which comes after its state
        x = self.through(torch.stack(stream, dim=2).flatten(1, 2))
        return x[:, state :: len(stream)]


def plan(tile: int) -> Plan:
    """The plan of the family: block weights are composed from ``tile x tile`` templates, the rest is free."""
    square = (tile, tile)
    return Plan(
        (
            Rule(BLOCK + r"qkv\.weight", "qkv", square, 3, ("heads", "stream"), 1),
            Rule(BLOCK + r"qkv\.bias", "qkv", None, 3, ("heads",)),
            Rule(BLOCK + r"out\.weight", "out", square, 1, ("stream", "heads"), 1),
            Rule(BLOCK + r"out\.bias", "bias", None, 1, ("stream",)),
            Rule(r"embed_time\.weight", "time", None, 1, (FIXED, "stream")),
            *shared_rules(tile),
        )
    )


MODELS.add("dt", Model(DecisionTransformer, plan, BOUND))
