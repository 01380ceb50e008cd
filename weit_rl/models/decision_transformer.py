"""Decision transformer (Chen et al. 2021): actions as a sequence model of returns-to-go, states and actions.

``rtg="every"`` is the original token stream (return-to-go, state, action). ``rtg="latest"`` drops those tokens and
lets the newest return-to-go scale and shift the last hidden state (after DDT): a third less to compute.
Windows are padded on the right, so causal attention alone keeps padding out and no mask is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.models.attention import TAIL, Block
from weit_rl.models.band_attention import Band, check_reach
from weit_rl.models.input_checks import check_shape, check_steps
from weit_rl.models.policy import BLOCK, BOUND, Policy, shared_rules
from weit_rl.models.registry import MODELS, Model
from weit_rl.options.choices import ATTENTION, POSITIONS, RTG

AT_ONCE = 2048  # tokens of which acting computes the blocks at once: what they make then stays in a CPU's caches


class DecisionTransformer(Policy):
    """A token for every state, and for returns-to-go and past actions where they are asked for.

    Args:
        size: width and depth.
        observation_dim: numbers in an observation.
        action_dim: numbers in an action; actions lie in [-1, 1].
        context: time steps the network sees, K (default 20).
        max_steps: length of the longest episode, the rows of the time-step table (default 1000).
        positions: ``"window"`` (default) numbers the steps of a window; ``"episode"`` is the original's absolute
            time step, a table of ``max_steps`` rows by which a network can recognise single episodes; ``"none"`` tells
            no step, and does not go with ``rtg="every"``.
        rtg: ``"every"`` (a return-to-go token a step), ``"latest"`` (default) or ``"none"`` (plain behaviour cloning).
        past_actions: whether past actions are tokens (default False: a policy that sees what it did learns to
            repeat it, and the sequence is half as long).
        dropout: share of what each branch adds to the stream that is left out in training (default 0).
        attention: ``"full"`` (default), over all steps of a window, or ``"band"``, over the last ``band`` of them; this
            needs a context of ``depth * (band - 1) + 1`` steps and positions that are not the window's. What it keeps
            of the past then gives the same actions as the window (:meth:`step`).
        band: steps that a block sees, its own included (default 4).

    Raises:
        UserError: for an option that it does not have, or options that do not go together.
    """

    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "rtg": RTG,
        "past_actions": (False, True),
        "positions": POSITIONS,
        "attention": ATTENTION,
    }

    embed_time: nn.Embedding
    embed_action: nn.Linear
    embed_return: nn.Linear

    def check(self, size: Size) -> None:
        """A band must fit the windows and the positions, and returns must not be alone in their tokens."""
        if self.rtg == "every" and self.positions == "none":  # the norm behind would leave a multiple its direction
            raise UserError("positions=none: rtg=every needs a position beside each return; use window or episode")
        if self.attention == "band":
            check_reach(self.band, size.depth, self.context, self.positions)

    @property
    def keeps_past(self) -> bool:
        """Return True for attention over a band: keys and values of a few tokens then stand for the whole past."""
        return self.attention == "band"

    def embeddings(self, width: int, observation_dim: int) -> dict[str, nn.Module]:
        """Of time, states and the other tokens."""
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
        """Attention and MLP."""
        return Block(size, dropout)

    @property
    def tokens(self) -> Band:
        """The order of tokens in a step (return, state, action), and the steps that a band shows them."""
        every = int(self.rtg == "every")
        return Band(self.band, 1 + every + int(self.past_actions), every)

    def hidden(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """The stream at the state tokens."""
        order = self.tokens
        x = self.through(self.stream(states, actions, returns, timesteps))
        return x[:, order.state :: order.kinds]

    def stream(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """The tokens ``(B, kinds * T, width)``; no step sees its own action, which comes after its state."""
        time = self.time(timesteps)
        kinds = [self.embed_return(returns) + time, states + time] if self.rtg == "every" else [states + time]
        if self.past_actions:
            kinds.append(self.embed_action(actions) + time)
        return torch.stack(kinds, dim=2).flatten(1, 2)

    def time(self, timesteps: Tensor) -> Tensor | float:
        """What is added to every token of a step ``(B, T)``."""
        if self.positions == "none":
            return 0.0
        if self.positions == "window":
            timesteps = torch.arange(timesteps.shape[1], device=timesteps.device)
        return self.embed_time(timesteps.clamp_max(self.embed_time.num_embeddings - 1))

    def through(self, stream: Tensor) -> Tensor:
        """The stream through all blocks."""
        x, mask = self.norm_in(stream), self.mask(stream)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def mask(self, stream: Tensor) -> Tensor | None:
        """Who looks at whom in a window; None where all do that may."""
        return self.tokens.mask(stream.shape[1], stream.device) if self.keeps_past else None

    def act(self, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor) -> Tensor:
        """As every policy's, without what only other steps need: the last block's work on them."""
        check_steps(observations, {"actions": actions, "returns_to_go": returns_to_go, "timesteps": timesteps})
        states, returns = self.embedded(observations, returns_to_go)
        stream = self.stream(states, actions, returns, timesteps)
        if self.past_actions:
            stream = stream[:, :-1]  # the action after the last state
        parts = stream.split(max(1, AT_ONCE // stream.shape[1]))
        x = torch.cat([self.last(part) for part in parts]) if len(parts) > 1 else self.last(stream)
        rows = min(observations.shape[1], max(1, 2 * TAIL // len(x)))
        x, returns = (part[:, -1:].expand(-1, rows, -1) for part in (x, returns))
        return torch.tanh(self.head(self.told(x, returns)))[:, 0]

    def last(self, stream: Tensor) -> Tensor:
        """``(B, 1, width)``: the last token of the stream behind all blocks."""
        x, mask = self.norm_in(stream), self.mask(stream)
        for block in self.blocks[:-1]:
            x = block(x, mask)
        last: Any = self.blocks[-1]
        newest: Tensor = last.newest(x, mask)
        return newest[:, -1:]

    def nothing(self, count: int) -> tuple[Tensor, ...]:
        """What :meth:`step` is given where ``count`` episodes begin: for every block keys and values of no past."""
        width, device = self.norm_in.weight.numel(), self.target_return.device
        return tuple(torch.zeros(count, self.tokens.kept, 2 * width, device=device) for _ in self.blocks)

    def step(
        self, seen: Tensor, action: Tensor, returns_to_go: Tensor, times: Tensor, past: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What :meth:`act` says of whole windows, from the newest step and the past kept; for ``attention="band"``.

        Args:
            seen: ``(n, observation_dim)``, raw units.
            action: ``(n, action_dim)``, the last one; not looked at in an episode's first step.
            returns_to_go: ``(n,)``, raw reward units.
            times: ``(n,)`` integers, the step inside the episode; of a past that is older nothing is seen.
            past: what the last call returned, or :meth:`nothing`.

        Returns:
            ``(n, action_dim)`` in [-1, 1], and the past for the next call.

        Raises:
            UserError: for a past or a last step of other rows.
        """
        self._check_newest(seen, action, returns_to_go, times, past)
        states, returns = self.embedded(seen[:, None], returns_to_go[:, None])
        time = self.time(times[:, None])
        new = [self.embed_return(returns) + time, states + time] if self.rtg == "every" else [states + time]
        if self.past_actions:
            new.insert(0, self.embed_action(action[:, None]) + self.time((times[:, None] - 1).clamp_min(0)))
        x, mask, kept = self.norm_in(torch.cat(new, dim=1)), self.tokens.newest(times), []
        block: Any
        for number, (block, before) in enumerate(zip(self.blocks, past, strict=True)):
            x, after = block.remember(x, before, mask, last=number == len(past) - 1)
            kept.append(after)
        return torch.tanh(self.head(self.told(x, returns)))[:, 0], tuple(kept)

    def _check_newest(self, seen: Tensor, action: Tensor, returns: Tensor, times: Tensor, past: Any) -> None:
        rows, kept = len(seen), (self.tokens.kept, 2 * self.norm_in.weight.numel())
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
