"""Decision transformer (Chen et al. 2021): actions as a sequence model of returns-to-go, states and actions.

``rtg="every"`` is the original token stream (return-to-go, state, action). ``rtg="latest"`` drops those tokens and
lets the newest return-to-go scale and shift the last hidden state (after DDT): a third less to compute.
Windows are padded on the right, so causal attention alone keeps padding out and no mask is needed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.errors import UserError
from weit_rl.models import MODELS, Model
from weit_rl.plan import FIXED, LAYER, Plan, Rule
from weit_rl.sizes import Size

RTG = ("latest", "every", "none")
POSITIONS = ("window", "episode")


class Block(nn.Module):
    """Pre-norm attention and MLP, as GPT-2's."""

    def __init__(self, size: Size, dropout: float = 0.0):
        super().__init__()
        width = size.width
        self.head_dim = size.head_dim
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, width) -> (B, T, width)``, causal."""
        B, T, _ = x.shape
        qkv = self.qkv(self.norm1(x)).view(B, T, 3, -1, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, head_dim)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.out(attended.transpose(1, 2).reshape(B, T, -1)))
        return x + self.dropout(self.fc2(F.relu(self.fc1(self.norm2(x)))))


class DecisionTransformer(nn.Module):
    """Everything needed to act is inside: normaliser, reward scale and target return are buffers.

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

    observation_mean: Tensor
    observation_std: Tensor
    return_scale: Tensor
    target_return: Tensor

    def __init__(
        self,
        size: Size,
        observation_dim: int,
        action_dim: int,
        context: int = 20,
        max_steps: int = 1000,
        rtg: str = "latest",
        past_actions: bool = False,
        positions: str = "window",
        dropout: float = 0.0,
    ):
        super().__init__()
        if rtg not in RTG:
            raise UserError(f"rtg={rtg}: must be one of {', '.join(RTG)}")
        if positions not in POSITIONS:
            raise UserError(f"positions={positions}: must be one of {', '.join(POSITIONS)}")
        self.context, self.rtg, self.past_actions = context, rtg, past_actions
        self.action_dim, self.max_steps = action_dim, max_steps
        width = size.width
        self.positions = positions
        self.embed_time = nn.Embedding(context if positions == "window" else max_steps, width)
        self.embed_observation = nn.Linear(observation_dim, width)
        if past_actions:
            self.embed_action = nn.Linear(action_dim, width)
        if rtg == "every":
            self.embed_return = nn.Linear(1, width)
        elif rtg == "latest":
            self.modulate = nn.Linear(1, 2 * width)
        self.norm_in = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(size, dropout) for _ in range(size.depth))
        self.norm_out = nn.LayerNorm(width)
        self.head = nn.Linear(width, action_dim)
        self.register_buffer("observation_mean", torch.zeros(observation_dim))
        self.register_buffer("observation_std", torch.ones(observation_dim))
        self.register_buffer("return_scale", torch.tensor(1000.0))
        self.register_buffer("target_return", torch.tensor(0.0))
        self.apply(_init)

    def forward(self, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor) -> Tensor:
        """The action for every step of a window.

        Args:
            observations: ``(B, T, observation_dim)``, raw units.
            actions: ``(B, T, action_dim)``; the last one is not looked at.
            returns_to_go: ``(B, T)``, raw reward units.
            timesteps: ``(B, T)`` integers, the step inside the episode.

        Returns:
            ``(B, T, action_dim)`` in [-1, 1].
        """
        if self.positions == "window":
            timesteps = torch.arange(observations.shape[1], device=observations.device)
        time = self.embed_time(timesteps.clamp_max(self.embed_time.num_embeddings - 1))
        states = self.embed_observation((observations - self.observation_mean) / self.observation_std) + time
        returns = (returns_to_go / self.return_scale).unsqueeze(-1)
        stream = [self.embed_return(returns) + time, states] if self.rtg == "every" else [states]
        state = len(stream) - 1
        if self.past_actions:
            stream.append(self.embed_action(actions) + time)
        # (B, kinds * T, width); causal, so no step sees its own action, which comes after its state
        x = self.norm_in(torch.stack(stream, dim=2).flatten(1, 2))
        for block in self.blocks:
            x = block(x)
        x = self.norm_out(x[:, state :: len(stream)])  # the state tokens, (B, T, width)
        if self.rtg == "latest":
            scale, shift = self.modulate(returns).chunk(2, dim=-1)
            x = x * (1 + scale) + shift
        return torch.tanh(self.head(x))


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def plan(tile: int) -> Plan:
    """The plan of the family: block weights are composed from ``tile x tile`` templates, the rest is free."""
    block, square = rf"blocks\.{LAYER}\.", (tile, tile)
    return Plan(
        (
            Rule(block + r"qkv\.weight", "qkv", square, 3, ("heads", "stream"), 1),
            Rule(block + r"qkv\.bias", "qkv", None, 3, ("heads",)),
            Rule(block + r"out\.weight", "out", square, 1, ("stream", "heads"), 1),
            Rule(block + r"fc1\.weight", "fc1", square, 1, ("hidden", "stream"), 1),
            Rule(block + r"fc1\.bias", "fc1", None, 1, ("hidden",)),
            Rule(block + r"fc2\.weight", "fc2", square, 1, ("stream", "hidden"), 1),
            Rule(block + r"(out|fc2)\.bias", "bias", None, 1, ("stream",)),
            Rule(block + r"norm[12]\.(weight|bias)", "norm", None, 1, ("stream",)),
            Rule(r"norm_(in|out)\.(weight|bias)", "norm", None, 1, ("stream",)),
            Rule(r"embed_time\.weight", "time", None, 1, (FIXED, "stream")),
            Rule(r"embed_(observation|action|return)\.weight", "embed", None, 1, ("stream", FIXED)),
            Rule(r"embed_(observation|action|return)\.bias", "embed", None, 1, ("stream",)),
            Rule(r"modulate\.weight", "modulate", None, 2, ("stream", FIXED)),
            Rule(r"modulate\.bias", "modulate", None, 2, ("stream",)),
            Rule(r"head\.weight", "head", None, 1, (FIXED, "stream"), 1),
            Rule(r"head\.bias", "head", None, 1, (FIXED,)),
        )
    )


MODELS.add("dt", Model(DecisionTransformer, plan))
