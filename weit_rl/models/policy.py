"""What the policies share: the normaliser, how the return asked for is used, the action head, and their plan's rules.

Everything needed to act is inside a policy: normaliser, reward scale and target return are buffers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.normaliser import CLIP, MEAN, STD, keep_unlimited, unlimited
from weit_rl.core.plan import FIXED, LAYER, Rule
from weit_rl.models.input_checks import check_observations, check_steps

BAND = 4  # steps; with it six blocks see 19, and a context of 20 holds them
BLOCK = rf"blocks\.{LAYER}\."
BOUND = ("embed_observation", "embed_action", "head")  # to one body


class FeedForward(nn.Module):
    """The pre-norm MLP that ends every block, ``x + fc2(relu(fc1(norm2(x))))``; a block of its own without ``mixing``.

    Args:
        size: of the network.
        dropout: share of what is added that is left out in training.
        mixing: the modules, by name, with which a subclass mixes time steps before it calls this class's ``forward``.
    """

    def __init__(self, size: Size, dropout: float = 0.0, **mixing: nn.Module):
        super().__init__()
        for name, module in mixing.items():
            self.add_module(name, module)
        self.norm2 = nn.LayerNorm(size.width)
        self.fc1 = nn.Linear(size.width, 4 * size.width)
        self.fc2 = nn.Linear(4 * size.width, size.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, width) -> (B, T, width)``, every step by itself."""
        return x + self.dropout(self.fc2(F.relu(self.fc1(self.norm2(x)))))


class Policy(nn.Module):
    """Embedding, blocks, action head; a subclass says what else is embedded, what a block is, how the stream is made.

    Args:
        size: width and depth.
        observation_dim: numbers in an observation (of pictures: channels).
        action_dim: numbers in an action; actions lie in [-1, 1].
        context: time steps the network sees (default 20).
        max_steps: length of the longest episode (default 1000).
        rtg: how it is told the return to earn: ``"latest"`` (default), where the newest return-to-go scales and shifts
            the last hidden state (after DDT), ``"every"``, where each is a token, or ``"none"`` (behaviour cloning).
        past_actions: whether past actions are tokens (default False).
        positions: of a step, ``"window"`` (default), ``"episode"`` or ``"none"``.
        dropout: share of what each branch adds to the stream that is left out in training (default 0).
        attention: ``"full"`` (default), over all steps of a window, or ``"band"``.
        band: steps that a block with such a band sees (default 4).

    Raises:
        UserError: for an option that the model does not have.
    """

    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "rtg": ("latest", "none"),
        "past_actions": (False,),
        "positions": ("window",),
        "attention": ("full",),
    }

    embed_observation: nn.Module
    observation_mean: Tensor
    observation_std: Tensor
    observation_clip: Tensor | None
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
        attention: str = "full",
        band: int = BAND,
    ):
        super().__init__()
        asked = {"rtg": rtg, "past_actions": past_actions, "positions": positions, "attention": attention}
        for name, value in asked.items():
            self._check(name, value)
        self.context, self.max_steps, self.action_dim = context, max_steps, action_dim
        self.attention, self.band = attention, band
        self.rtg, self.past_actions, self.positions = rtg, past_actions, positions
        self.check(size)
        for name, module in self.embeddings(size.width, observation_dim).items():
            self.add_module(name, module)
        if rtg == "latest":
            self.modulate = nn.Linear(1, 2 * size.width)
        self.norm_in = nn.LayerNorm(size.width)
        self.blocks = nn.ModuleList(self.block(size, dropout) for _ in range(size.depth))
        self.norm_out = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, action_dim)
        mean, std = self.normaliser(observation_dim)
        for name, buffer in zip((MEAN, STD, CLIP), (mean, std, unlimited(mean)), strict=True):
            self.register_buffer(name, buffer)
        self.register_load_state_dict_pre_hook(keep_unlimited)
        self.register_buffer("return_scale", torch.tensor(1000.0))
        self.register_buffer("target_return", torch.tensor(0.0))
        self.apply(_init)

    @property
    def keeps_past(self) -> bool:
        """Return True if the policy acts by :meth:`step`, from the newest step and what it kept of earlier ones.

        Any other policy acts on windows of ``context`` steps.
        """
        return False

    @property
    def acting_inputs(self) -> tuple[str, ...]:
        """Name what a step of acting on windows reads besides the newest observation.

        ``return_to_go`` and ``time`` belong to the newest step; ``past_observations``, ``past_actions`` and
        ``past_returns_to_go`` to the steps before it.
        """
        looks_back = self.context > 1
        reads = {
            "return_to_go": self.rtg != "none",
            "time": looks_back or self.positions == "episode",
            "past_observations": looks_back,
            "past_actions": looks_back and self.past_actions,
            "past_returns_to_go": looks_back and self.rtg == "every",
        }
        return tuple(name for name, is_read in reads.items() if is_read)

    def normaliser(self, observation_dim: Any) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation before the data's are known; every number of an observation has its own."""
        return torch.zeros(observation_dim), torch.ones(observation_dim)

    def check(self, size: Size) -> None:
        """UserError for options that do not go together."""

    def embeddings(self, width: int, observation_dim: Any) -> dict[str, nn.Module]:
        """The modules that make the stream, by name."""
        return {"embed_observation": nn.Linear(observation_dim, width)}

    def block(self, size: Size, dropout: float) -> nn.Module:
        """A block; all are alike, so that networks of other depths can take, drop and repeat them."""
        return FeedForward(size, dropout)

    def forward(
        self,
        observations: Tensor,
        actions: Tensor,
        returns_to_go: Tensor,
        timesteps: Tensor,
        head: bool = True,
    ) -> Tensor:
        """The action for every step of a window.

        Args:
            observations: ``(B, T, observation_dim)``, raw units.
            actions: ``(B, T, action_dim)``; the last one is not looked at.
            returns_to_go: ``(B, T)``, raw reward units.
            timesteps: ``(B, T)`` integers, the step inside the episode.
            head: False stops before the action head, for whoever has another one (default True).

        Returns:
            ``(B, T, action_dim)`` in [-1, 1], or ``(B, T, width)`` without the head.

        Raises:
            UserError: for observations of another size, or others of other rows or steps.
        """
        check_steps(observations, {"actions": actions, "returns_to_go": returns_to_go, "timesteps": timesteps})
        states, returns = self.embedded(observations, returns_to_go)
        x = self.told(self.hidden(states, actions, returns, timesteps), returns)
        return torch.tanh(self.head(x)) if head else x

    def act(self, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor) -> Tensor:
        """``(B, action_dim)``, the last step's action of windows without padding; arguments as of :meth:`forward`."""
        return self(observations, actions, returns_to_go, timesteps)[:, -1]

    def embedded(self, observations: Tensor, returns_to_go: Tensor) -> tuple[Tensor, Tensor]:
        """Observations ``(..., width)`` and scaled returns ``(..., 1)``, as the blocks take them."""
        return self.embed(observations), (returns_to_go / self.return_scale).unsqueeze(-1)

    def embed(self, observations: Tensor) -> Tensor:
        """What the stream is made of, from observations in raw units."""
        return self.embed_observation(self.normalised(observations))

    def normalised(self, observations: Tensor) -> Tensor:
        """Observations, or the states among them, in deviations from the mean, within their limits.

        An infinite observation is an error of the sensor or the data, and becomes NaN instead of a limit.
        """
        check_observations(observations, self.observation_mean)
        scaled = (observations - self.observation_mean) / self.observation_std
        limit = self.observation_clip
        return scaled if limit is None else scaled.clamp(-limit, limit) + 0 * observations

    def told(self, x: Tensor, returns: Tensor) -> Tensor:
        """What the head sees: the stream behind the blocks, told the return to earn where no token says it."""
        x = self.norm_out(x)
        if self.rtg == "latest":
            scale, shift = self.modulate(returns).chunk(2, dim=-1)
            x = x * (1 + scale) + shift
        return x

    def hidden(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """``(B, T, width)`` behind the last block, from embedded states and scaled returns ``(B, T, 1)``."""
        return self.through(states)

    def through(self, stream: Tensor) -> Tensor:
        """The stream through all blocks."""
        x = self.norm_in(stream)
        for block in self.blocks:
            x = block(x)
        return x

    def _check(self, name: str, value: Any) -> None:
        if value not in self.choices[name]:
            has = ", ".join(str(choice).lower() for choice in self.choices[name])
            raise UserError(f"{name}={str(value).lower()}: {type(self).__name__} has {has} only; leave {name} out")


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding | nn.Conv1d | nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)


def shared_rules(tile: int) -> tuple[Rule, ...]:
    """The rules of what all policies with :class:`FeedForward` have: composed MLPs, the rest free."""
    square = (tile, tile)
    return (
        Rule(BLOCK + r"fc1\.weight", "fc1", square, 1, ("hidden", "stream"), 1),
        Rule(BLOCK + r"fc1\.bias", "fc1", None, 1, ("hidden",)),
        Rule(BLOCK + r"fc2\.weight", "fc2", square, 1, ("stream", "hidden"), 1),
        Rule(BLOCK + r"fc2\.bias", "bias", None, 1, ("stream",)),
        *FREE_RULES,
    )


FREE_RULES = (  # of what any policy has
    Rule(BLOCK + r"norm[12]\.(weight|bias)", "norm", None, 1, ("stream",)),
    Rule(r"norm_(in|out)\.(weight|bias)", "norm", None, 1, ("stream",)),
    Rule(r"embed_(observation|action|return)\.weight", "embed", None, 1, ("stream", FIXED)),
    Rule(r"embed_(observation|action|return)\.bias", "embed", None, 1, ("stream",)),
    Rule(r"modulate\.weight", "modulate", None, 2, ("stream", FIXED)),
    Rule(r"modulate\.bias", "modulate", None, 2, ("stream",)),
    Rule(r"head\.weight", "head", None, 1, (FIXED, "stream"), 1),
    Rule(r"head\.bias", "head", None, 1, (FIXED,)),
)
