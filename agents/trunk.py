"""An actor's layers made from a template bank: a features extractor in Stable-Baselines3's terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from weit_rl.agents.actor_inputs import FAR, ActorInput
from weit_rl.agents.actor_networks import (
    AUTO,
    FAMILIES,
    NEW,
    composed,
    fresh,
    known_body,
    load,
    trained,
)
from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.sizes import Size
from weit_rl.core.composed_network import WeiT
from weit_rl.models.mlp import MLP

MODES = ("dense", "scalers")


@dataclass(frozen=True)
class ActorStart:
    """The start of an actor's layers.

    Attributes:
        bank: path of a bank of ``model=mlp`` (for pictures ``conv`` or ``convnext_policy``), or the environment whose
            bank ships; None for untrained weights.
        checkpoint: a network of such a model instead: the folder of the run that trained it, or its file.
        size: a name of the ladder or ``WIDTHxDEPTH``.
        mode: ``"dense"``, a plain network in which everything is trained, or ``"scalers"``, with frozen templates.
        body: the body whose observations and actions these are. By its name in the bank, its embedding, normaliser and
            head are used; ``"new"`` gets untrained ones; ``"auto"`` is the bank's body with equal numbers of
            observations and actions, or a new one.
    """

    bank: str | Path | None = None
    checkpoint: str | Path | None = None
    size: str = "small"
    mode: str = "dense"
    body: str = AUTO

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown_name_error("mode", self.mode, list(MODES))
        if self.bank is None and self.mode == "scalers":
            raise UserError("mode=scalers: needs templates; give bank=PATH, or leave mode out")
        if self.bank is not None and self.checkpoint is not None:
            raise UserError(
                f"bank={self.bank} and checkpoint={self.checkpoint}: an actor is made from one; leave one out"
            )

    @property
    def named(self) -> str:
        """Return the option that sets the start, for messages."""
        return f"checkpoint={self.checkpoint}" if self.checkpoint is not None else f"bank={self.bank}"

    def trunk(self, entering: ActorInput, actions: spaces.Space) -> tuple[Trunk, nn.Linear | None]:
        """Return the layers for these spaces, and the bank's action head, if the bank has one for this body.

        Args:
            entering: the input of the network.
            actions: of any kind; no bank has a head for choices, which count 0 numbers here.
        """
        size, models = Size.parse(self.size), FAMILIES[entering.pictures]
        shape = entering.shape, math.prod(actions.shape) if isinstance(actions, spaces.Box) else 0
        if self.checkpoint is not None:
            size, net, whole = trained(self.checkpoint, shape, models)
            return Trunk(entering, net, size), whole.head
        if self.bank is None:
            net = fresh(models[0], size, *shape)
            del net.head
            return Trunk(entering, net, size), None
        bank = load(self.bank, models)
        asked = self.body if entering.own or self.body != AUTO else NEW
        body = known_body(bank, asked, shape, str(self.bank))
        net, whole = composed(bank, shape, size, body)
        own = net if self.mode == "scalers" else net.materialize()
        return Trunk(entering, own, size), None if body == NEW else whole.head


class Trunk(BaseFeaturesExtractor):
    """A features extractor from observations to the last hidden state of a policy; the algorithm adds a head.

    Args:
        entering: the input of the network.
        net: a policy without its head, plain or composed.
        size: of the network.
    """

    def __init__(self, entering: ActorInput, net: nn.Module, size: Size):
        super().__init__(entering.space, size.width)
        self.front, self.net, self.scale, self.far = entering.front, net, entering.scale, entering.far

    def __getattr__(self, name: str) -> Any:
        """Give what a features extractor of the user's own has, which stands in front."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            front = self.__dict__.get("_modules", {}).get("front")
            if front is None or name.startswith("_"):
                raise
            return getattr(front, name)

    def apply(self, fn: Any) -> Trunk:
        """Leave the network unchanged: PPO and A2C call this after it is made, to draw orthogonal weights."""
        if self.front is not None:
            self.front.apply(fn)
        return self

    def forward(self, observations: Any) -> Tensor:
        """Map ``(B, ...)`` observations, of a Dict by name, to ``(B, width)``."""
        seen = observations if self.front is None else self.front(observations)
        if self.far:
            seen = seen.clamp(-FAR, FAR)
        if isinstance(self.net, MLP):
            return self.net.features(seen)
        states = seen.unsqueeze(1) * self.scale
        nothing = states.new_zeros(states.shape[0], 1)  # not len(), which a trace would store as a constant
        return self.net(states, states, nothing, nothing, head=False)[:, 0]

    @property
    def length(self) -> Tensor:
        """Return the usual norm of a last hidden state, which layer norm sets; it grows with the width."""
        own = self.net.free if isinstance(self.net, WeiT) else dict(self.net.named_parameters())
        squares = [own[f"norm_out.{name}"].detach().square().sum() for name in ("weight", "bias")]
        return (squares[0] + squares[1]).sqrt()
