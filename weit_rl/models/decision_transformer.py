"""Decision transformer (Chen et al. 2021): predict actions from a sequence of returns-to-go, states and actions.

``rtg="every"`` is the original token stream (return-to-go, state, action). ``rtg="latest"`` has no return tokens: the
newest return-to-go scales and shifts the last hidden state, as in DDT. That is a third less to compute. Windows are
padded on the right, so that causal attention excludes the padding without a mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.models.activations import ACTIVATIONS
from weit_rl.models.attention import TAIL, Block
from weit_rl.models.band_attention import Band, check_reach
from weit_rl.models.input_checks import check_shape, check_steps
from weit_rl.models.policy import Policy
from weit_rl.models.policy_rules import BLOCK, BOUND, shared_rules
from weit_rl.models.registry import MODELS, Model
from weit_rl.options.model_words import ATTENTION, POSITIONS, RTG

AT_ONCE = 2048  # tokens that go through the blocks together when acting; their activations fit a CPU's caches


class DecisionTransformer(Policy):
    """A policy with a token for every state, and optionally for every return-to-go and past action.

    Args:
        size: width and depth.
        observation_dim: length of an observation.
        action_dim: length of an action; actions lie in [-1, 1].
        context: number of time steps in a window, K (default 20).
        max_steps: length of the longest episode, the rows of the time-step table (default 1000).
        positions: ``"window"`` (default) embeds the step inside the window. ``"episode"`` is the original's step inside
            the episode, a table of ``max_steps`` rows, from which a network can recognise single episodes. ``"none"``
            embeds no step; it cannot be combined with ``rtg="every"``.
        rtg: ``"every"`` (a return-to-go token per step), ``"latest"`` (default) or ``"none"`` (behaviour cloning).
        past_actions: whether past actions are tokens (default False). With them a policy learns to repeat its actions,
            and the sequence is twice as long.
        dropout: share of each branch's output that is dropped in training (default 0).
        attention: ``"full"`` (default), over all steps of a window, or ``"band"``, over the last ``band`` steps. A band
            needs a context of ``depth * (band - 1) + 1`` steps or more, and positions other than ``"window"``. Then the
            keys and values kept by :meth:`step` give the same actions as the window.
        band: number of steps that a block attends to, its own included (default 4).

    Raises:
        UserError: for an option that the model does not have, or options that cannot be combined.
    """

    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "rtg": RTG,
        "past_actions": (False, True),
        "positions": POSITIONS,
        "attention": ATTENTION,
        "activation": tuple(ACTIVATIONS),
    }

    embed_time: nn.Embedding
    embed_action: nn.Linear
    embed_return: nn.Linear

    def check(self, size: Size) -> None:
        """Refuse a band that does not fit the windows or the positions, and return tokens without a position."""
        if self.rtg == "every" and self.positions == "none":  # the norm would remove the size of a lone return
            raise UserError("positions=none: rtg=every needs a position beside each return; use window or episode")
        if self.attention == "band":
            check_reach(self.band, size.depth, self.context, self.positions)

    @property
    def keeps_past(self) -> bool:
        """Return True for attention over a band: keys and values of a few tokens then stand for the whole past."""
        return self.attention == "band"

    def embeddings(self, width: int, observation_dim: int) -> dict[str, nn.Module]:
        """Make the embeddings of times, states and the other tokens."""
        modules: dict[str, nn.Module] = {}
        if self.positions != "none":
            modules["embed_time"] = nn.Embedding(self.context if self.positions == "window" else self.max_steps, width)
        modules["embed_observation"] = nn.Linear(observation_dim, width)
        if self.past_actions:
            modules["embed_action"] = nn.Linear(self.action_dim, width)
        if self.rtg == "every":
            modules["embed_return"] = nn.Linear(1, width)
        return modules

    def block(self, size: Size, dropout: float) -> nn.Module:
        """Make a block of attention and MLP."""
        return Block(size, dropout, self.activation)

    @property
    def tokens(self) -> Band:
        """Return the order of the tokens in a step (return, state, action), and the steps that they attend to."""
        every = int(self.rtg == "every")
        return Band(self.band, 1 + every + int(self.past_actions), every)

    def hidden(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """Return the stream at the state tokens, ``(B, T, width)``."""
        order = self.tokens
        x = self.run_blocks(self.stream(states, actions, returns, timesteps))
        return x[:, order.state :: order.kinds]

    def stream(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """Make the tokens ``(B, kinds * T, width)``; a step's action follows its state, which must not see it."""
        time = self.time(timesteps)
        kinds = [self.embed_return(returns) + time, states + time] if self.rtg == "every" else [states + time]
        if self.past_actions:
            kinds.append(self.embed_action(actions) + time)
        return torch.stack(kinds, dim=2).flatten(1, 2)

    def time(self, timesteps: Tensor) -> Tensor | float:
        """Embed the time steps ``(B, T)``; the result is added to every token of a step."""
        if self.positions == "none":
            return 0.0
        if self.positions == "window":
            timesteps = torch.arange(timesteps.shape[1], device=timesteps.device)
        return self.embed_time(timesteps.clamp_max(self.embed_time.num_embeddings - 1))

    def run_blocks(self, stream: Tensor) -> Tensor:
        """Run the stream through all blocks."""
        x, mask = self.norm_in(stream), self.mask(stream)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def mask(self, stream: Tensor) -> Tensor | None:
        """Return the attention mask of a window; None for full causal attention."""
        return self.tokens.mask(stream.shape[1], stream.device) if self.keeps_past else None

    def act(self, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor) -> Tensor:
        """Predict the last step's action; the last block then skips all other steps. See :meth:`Policy.act`."""
        check_steps(observations, {"actions": actions, "returns_to_go": returns_to_go, "timesteps": timesteps})
        states, returns = self.embed_inputs(observations, returns_to_go)
        stream = self.stream(states, actions, returns, timesteps)
        if self.past_actions:
            stream = stream[:, :-1]  # without the action after the last state, which is not known yet
        parts = stream.split(max(1, AT_ONCE // stream.shape[1]))
        x = torch.cat([self.last_token(part) for part in parts]) if len(parts) > 1 else self.last_token(stream)
        rows = min(observations.shape[1], max(1, 2 * TAIL // len(x)))
        x, returns = (part[:, -1:].expand(-1, rows, -1) for part in (x, returns))
        return torch.tanh(self.head(self.head_input(x, returns)))[:, 0]

    def last_token(self, stream: Tensor) -> Tensor:
        """Return the last token of the stream after all blocks, ``(B, 1, width)``."""
        x, mask = self.norm_in(stream), self.mask(stream)
        for block in self.blocks[:-1]:
            x = block(x, mask)
        last: Any = self.blocks[-1]
        newest: Tensor = last.last_tokens(x, mask)
        return newest[:, -1:]

    def empty_past(self, count: int) -> tuple[Tensor, ...]:
        """Return the past that :meth:`step` is given when ``count`` episodes begin: zeros for every block."""
        width, device = self.norm_in.weight.numel(), self.target_return.device
        return tuple(torch.zeros(count, self.tokens.past_tokens, 2 * width, device=device) for _ in self.blocks)

    def step(
        self, seen: Tensor, action: Tensor, returns_to_go: Tensor, times: Tensor, past: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Predict the newest step's action from that step and the past; for ``attention="band"``.

        The actions equal those that :meth:`act` predicts from whole windows.

        Args:
            seen: observations, ``(n, observation_dim)``, raw units.
            action: the last action, ``(n, action_dim)``; ignored in the first step of an episode.
            returns_to_go: ``(n,)``, raw reward units.
            times: ``(n,)`` integers, the step inside the episode. The past from before the episode is ignored.
            past: what the last call returned, or :meth:`nothing`.

        Returns:
            Actions ``(n, action_dim)`` in [-1, 1], and the past for the next call.

        Raises:
            UserError: for a past, an action, returns or times of another number of rows.
        """
        self._check_newest(seen, action, returns_to_go, times, past)
        states, returns = self.embed_inputs(seen[:, None], returns_to_go[:, None])
        time = self.time(times[:, None])
        new = [self.embed_return(returns) + time, states + time] if self.rtg == "every" else [states + time]
        if self.past_actions:
            new.insert(0, self.embed_action(action[:, None]) + self.time((times[:, None] - 1).clamp_min(0)))
        x, mask, kept = self.norm_in(torch.cat(new, dim=1)), self.tokens.newest_mask(times), []
        block: Any
        for number, (block, before) in enumerate(zip(self.blocks, past, strict=True)):
            x, after = block.with_past(x, before, mask, last=number == len(past) - 1)
            kept.append(after)
        return torch.tanh(self.head(self.head_input(x, returns)))[:, 0], tuple(kept)

    def _check_newest(self, seen: Tensor, action: Tensor, returns: Tensor, times: Tensor, past: Any) -> None:
        rows, kept = len(seen), (self.tokens.past_tokens, 2 * self.norm_in.weight.numel())
        check_shape("action", action, (rows, self.action_dim))
        check_shape("returns_to_go", returns, (rows,))
        check_shape("times", times, (rows,))
        if len(past) != len(self.blocks):
            raise UserError(
                f"past: of {len(past)} blocks, the policy has {len(self.blocks)}; give what its call returned"
            )
        for before in past:
            check_shape("past", before, (rows, *kept))


def plan(tile: int) -> Plan:
    """Make the plan of the family: block weights are composed from ``tile x tile`` templates, the rest is free."""
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
