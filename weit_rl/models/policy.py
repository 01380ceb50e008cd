"""The base class of all policies: normaliser, codes of tasks, conditioning on the return, and action head.

A policy holds everything that acting needs: normaliser, reward scale and target return are buffers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.normaliser import CLIP, MEAN, STD, add_missing_limits_hook, infinite_limits
from weit_rl.models.activations import ACTIVATIONS, RELU
from weit_rl.models.feed_forward import FeedForward
from weit_rl.models.input_checks import check_observations, check_steps

BAND = 4  # steps; six blocks then reach back 19 steps, which fit a context of 20
CODE = 16  # numbers of a task's code


class Policy(nn.Module):
    """A network of embeddings, blocks and an action head.

    A subclass defines its embeddings, its blocks, and how its stream is made. Its ``choices`` list the values that it
    allows for each option.

    Args:
        size: width and depth.
        observation_dim: length of an observation (of pictures: channels).
        action_dim: length of an action; actions lie in [-1, 1].
        context: number of time steps in a window (default 20).
        max_steps: length of the longest episode (default 1000).
        rtg: how the network is conditioned on the return to earn. With ``"latest"`` (default) the newest return-to-go
            scales and shifts the last hidden state, as in DDT. With ``"every"`` each return-to-go is a token. With
            ``"none"`` it is not conditioned (behaviour cloning).
        past_actions: whether past actions are tokens (default False).
        positions: how a step is embedded, by its place in the ``"window"`` (default), in the ``"episode"``, or
            ``"none"``.
        dropout: share of each branch's output that is dropped in training (default 0).
        attention: ``"full"`` (default), over all steps of a window, or ``"band"``, over the last ``band`` steps.
        band: number of steps that a block attends to with ``attention="band"`` (default 4).
        activation: of the blocks' hidden channels: ``"relu"`` (default), ``"gelu"`` or ``"silu"``. In a long
            pre-training ReLUs of blocks that few sizes use stay at zero for every input; the smooth ones do not.
        codes: number of tasks that the network does, for tasks of one family; it learns a code for each (default 0: no
            codes).

    Raises:
        UserError: for an option that the model does not have.
    """

    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "rtg": ("latest", "none"),
        "past_actions": (False,),
        "positions": ("window",),
        "attention": ("full",),
        "activation": tuple(ACTIVATIONS),
    }

    embed_observation: nn.Module
    observation_mean: Tensor
    observation_std: Tensor
    observation_clip: Tensor | None
    return_scale: Tensor
    target_return: Tensor
    task_code: nn.Parameter
    embed_code: nn.Parameter

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
        activation: str = RELU,
        codes: int = 0,
    ):
        super().__init__()
        asked = {"rtg": rtg, "past_actions": past_actions, "positions": positions, "attention": attention}
        asked |= {"activation": activation}
        for name, value in asked.items():
            self._check_choice(name, value)
        self.context, self.max_steps, self.action_dim = context, max_steps, action_dim
        self.attention, self.band, self.activation = attention, band, activation
        self.rtg, self.past_actions, self.positions, self.codes = rtg, past_actions, positions, codes
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
        for name, buffer in zip((MEAN, STD, CLIP), (mean, std, infinite_limits(mean)), strict=True):
            self.register_buffer(name, buffer)
        self.register_load_state_dict_pre_hook(add_missing_limits_hook)
        self.register_buffer("return_scale", torch.tensor(1000.0))
        self.register_buffer("target_return", torch.tensor(0.0))
        self.apply(_init)
        if codes:  # at last, so that all other weights are those of a network without codes
            self.task_code = nn.Parameter(torch.randn(codes, CODE).sign())
            self.embed_code = nn.Parameter(torch.randn(size.width, CODE) * 0.02)

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
        """Return mean and standard deviation of each entry of an observation, as they are before any data."""
        return torch.zeros(observation_dim), torch.ones(observation_dim)

    def check(self, size: Size) -> None:
        """Raise UserError for options that cannot be combined; a subclass overrides it."""

    def embeddings(self, width: int, observation_dim: Any) -> dict[str, nn.Module]:
        """Make the modules that make the stream, by name."""
        return {"embed_observation": nn.Linear(observation_dim, width)}

    def block(self, size: Size, dropout: float) -> nn.Module:
        """Make a block. All blocks are alike, so that networks of other depths can take, drop and repeat them."""
        return FeedForward(size, dropout, self.activation)

    def forward(
        self,
        observations: Tensor,
        actions: Tensor,
        returns_to_go: Tensor,
        timesteps: Tensor,
        head: bool = True,
        task: Tensor | None = None,
    ) -> Tensor:
        """Predict the action of every step of a window.

        Args:
            observations: ``(B, T, observation_dim)``, raw units.
            actions: ``(B, T, action_dim)``; the last one is ignored.
            returns_to_go: ``(B, T)``, raw reward units.
            timesteps: ``(B, T)`` integers, the step inside the episode.
            head: whether the action head is applied (default True); False is for callers with a head of their own.
            task: ``(B,)`` integers, the task of each window, of a network with several codes (default: the first).

        Returns:
            ``(B, T, action_dim)`` in [-1, 1], or ``(B, T, width)`` without the head.

        Raises:
            UserError: if observations have another length, or the other arguments other rows or steps.
        """
        check_steps(observations, {"actions": actions, "returns_to_go": returns_to_go, "timesteps": timesteps})
        states, returns = self.embed_inputs(observations, returns_to_go, task)
        x = self.head_input(self.hidden(states, actions, returns, timesteps), returns)
        return torch.tanh(self.head(x)) if head else x

    def act(self, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor) -> Tensor:
        """Predict the last step's action, ``(B, action_dim)``, of windows without padding; see :meth:`forward`."""
        return self(observations, actions, returns_to_go, timesteps)[:, -1]

    def embed_inputs(
        self, observations: Tensor, returns_to_go: Tensor, task: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Embed observations with the codes of their tasks, ``(..., width)``, and scale returns, ``(..., 1)``."""
        states = self.embed(observations)
        if self.codes:
            states = states + self.code(task)
        return states, (returns_to_go / self.return_scale).unsqueeze(-1)

    def of_task(self, task: int) -> Any:
        """Return a copy of this network for one of its tasks, which has that task's code alone."""
        net = copy.deepcopy(self)
        net.codes, net.task_code = 1, nn.Parameter(self.task_code[task : task + 1].detach().clone())
        return net

    def code(self, task: Tensor | None = None) -> Tensor:
        """Embed the codes of tasks ``(B,)``, ``(B, 1, width)``; without them the first code, ``(width,)``."""
        codes = self.task_code[0] if task is None else self.task_code[task].unsqueeze(1)
        return F.linear(codes, self.embed_code)

    def embed(self, observations: Tensor) -> Tensor:
        """Embed observations given in raw units."""
        return self.embed_observation(self.normalised(observations))

    def normalised(self, observations: Tensor) -> Tensor:
        """Normalise observations, or the states in them, and clip them to their limits.

        An infinite observation is an error of the sensor or the data. It becomes NaN, not a limit.
        """
        check_observations(observations, self.observation_mean)
        scaled = (observations - self.observation_mean) / self.observation_std
        limit = self.observation_clip
        return scaled if limit is None else scaled.clamp(-limit, limit) + 0 * observations

    def head_input(self, x: Tensor, returns: Tensor) -> Tensor:
        """Normalise the output of the blocks, and condition it on the return if ``rtg="latest"``."""
        x = self.norm_out(x)
        if self.rtg == "latest":
            scale, shift = self.modulate(returns).chunk(2, dim=-1)
            x = x * (1 + scale) + shift
        return x

    def hidden(self, states: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor) -> Tensor:
        """Compute the last block's output, ``(B, T, width)``, from embedded states and scaled returns ``(B, T, 1)``."""
        return self.run_blocks(states)

    def run_blocks(self, stream: Tensor) -> Tensor:
        """Run the stream through all blocks."""
        x = self.norm_in(stream)
        for block in self.blocks:
            x = block(x)
        return x

    def _check_choice(self, name: str, value: Any) -> None:
        if value not in self.choices[name]:
            has = ", ".join(str(choice).lower() for choice in self.choices[name])
            raise UserError(f"{name}={str(value).lower()}: {type(self).__name__} has {has} only; leave {name} out")


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding | nn.Conv1d | nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
