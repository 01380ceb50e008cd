"""An actor's layers made from a template bank: what Stable-Baselines3 calls a features extractor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from weit_rl.agents.actor_networks import (
    AUTO,
    FAMILIES,
    NEW,
    composed,
    fresh,
    known_body,
    load,
    shape_of,
    trained,
)
from weit_rl.errors import UserError
from weit_rl.models.mlp import MLP
from weit_rl.registry import unknown
from weit_rl.sizes import Size

MODES = ("dense", "scalers")


@dataclass(frozen=True)
class Start:
    """What an actor's layers begin as.

    Attributes:
        bank: path of a bank of ``model=mlp`` (of pictures ``conv`` or ``convnext_policy``), or the environment whose
            bank ships; None for fresh weights.
        checkpoint: a network of such a model instead, the folder of the run that trained it or its file.
        size: a name of the ladder or ``WIDTHxDEPTH``.
        mode: ``"dense"``, a plain network of which everything is trained, or ``"scalers"``, where templates are frozen.
        body: whose observations and actions these are: one of those the bank was pre-trained on, by name, whose
            embedding, normaliser and head are taken; ``"new"``, another one, which gets fresh ones; ``"auto"``: the one
            of the bank's with as many observations and actions, a new one if there is none.
    """

    bank: str | Path | None = None
    checkpoint: str | Path | None = None
    size: str = "small"
    mode: str = "dense"
    body: str = AUTO

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown("mode", self.mode, list(MODES))
        if self.bank is None and self.mode == "scalers":
            raise UserError("mode=scalers: needs templates; give bank=PATH, or leave mode out")
        if self.bank is not None and self.checkpoint is not None:
            raise UserError(
                f"bank={self.bank} and checkpoint={self.checkpoint}: an actor is made from one; leave one out"
            )

    def trunk(
        self, observations: spaces.Space, actions: spaces.Space, normalised: bool = True
    ) -> tuple[Trunk, nn.Linear | None]:
        """The layers for these spaces, and the bank's action head, if it is one for this body.

        Args:
            observations: a flat Box, or pictures, bytes with the channels first.
            actions: of any kind.
            normalised: whether Stable-Baselines3 hands pictures on as numbers from 0 to 1.
        """
        size, shape, pictures = Size.parse(self.size), shape_of(observations, actions), is_image_space(observations)
        scale, models = 255.0 if pictures and normalised else 1.0, FAMILIES[pictures]
        if self.checkpoint is not None:
            size, net, whole = trained(self.checkpoint, shape, models)
            return Trunk(observations, net, size, scale), whole.head
        if self.bank is None:
            net = fresh(models[0], size, *shape)
            del net.head
            return Trunk(observations, net, size, scale), None
        bank = load(self.bank, models)
        body = known_body(bank, self.body, shape, str(self.bank))
        net, whole = composed(bank, shape, size, body)
        own = net if self.mode == "scalers" else net.materialize()
        return Trunk(observations, own, size, scale), None if body == NEW else whole.head


class Trunk(BaseFeaturesExtractor):
    """Observations to the last hidden state of a policy, on which an algorithm puts a head of its own.

    Args:
        observations: the space of what is seen.
        net: a policy without its head, plain or composed.
        size: of it.
        scale: what observations are multiplied by first (default 1).
    """

    def __init__(self, observations: spaces.Space, net: nn.Module, size: Size, scale: float = 1.0):
        super().__init__(observations, size.width)
        self.net, self.scale = net, scale

    def apply(self, fn: Any) -> Trunk:
        """Leave everything as it is: PPO and A2C draw orthogonal weights by this call, after the networks are made."""
        return self

    def forward(self, observations: Tensor) -> Tensor:
        """``(B, ...)`` observations to ``(B, width)``."""
        if isinstance(self.net, MLP):
            return self.net.features(observations)
        states = observations.unsqueeze(1) * self.scale
        nothing = states.new_zeros(len(states), 1)
        return self.net(states, states, nothing, nothing, head=False)[:, 0]
