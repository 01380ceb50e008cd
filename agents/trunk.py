"""An actor's layers made from a template bank: what Stable-Baselines3 calls a features extractor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from weit_rl.bank import TemplateBank
from weit_rl.bodies import bank_for, parts_of, seen, sizes_of, with_parts
from weit_rl.choices import DEFAULT
from weit_rl.errors import UserError
from weit_rl.models import MODELS
from weit_rl.models.mlp import MLP
from weit_rl.registry import unknown
from weit_rl.shipped import shipped_bank
from weit_rl.sizes import Size
from weit_rl.start import network_of_size
from weit_rl.training.checkpoint import load_network
from weit_rl.weit import WeiT

TILE = 16  # of a network that no bank is given for
FAMILIES = {False: ("mlp",), True: ("conv", "convnext_policy")}  # for pictures or not; the first where no bank says
Shape = tuple[int | list[int], int]  # of what is seen, pictures as [channels, 1, 1], and numbers in an action
MODES, AUTO, NEW = ("dense", "scalers"), "auto", "new"


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

    bank: str | None = None
    checkpoint: str | None = None
    size: str = "small"
    mode: str = "dense"
    body: str = "auto"

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
        size, shape, pictures = Size.parse(self.size), _shape(observations, actions), is_image_space(observations)
        scale, models = 255.0 if pictures and normalised else 1.0, FAMILIES[pictures]
        if self.checkpoint is not None:
            size, net, whole = trained(self.checkpoint, shape, models)
            return Trunk(observations, net, size, scale), whole.head
        if self.bank is None:
            net = _fresh(models[0], size, *shape)
            del net.head
            return Trunk(observations, net, size, scale), None
        bank = load(self.bank, models)
        body = known_body(bank, self.body, shape, self.bank)
        net, whole = composed(bank, shape, size, body)
        own = with_memory(net) if self.mode == "scalers" else net.materialize()
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


def load(bank: str, models: tuple[str, ...] = FAMILIES[False]) -> TemplateBank:
    """The bank of a path, or the one that ships for an environment.

    Raises:
        UserError: if there is none, or it is one of another family.
    """
    path, shipped = Path(bank).expanduser(), shipped_bank(bank, models[0])
    found = TemplateBank.load(shipped if shipped.is_file() else path)
    _refuse_others(f"bank={bank}", model_of(found), models)
    return found


def model_of(bank: TemplateBank) -> str:
    """The family a bank was made for."""
    return str(bank.card.get("model", DEFAULT))


def known_body(bank: TemplateBank, asked: str, shape: Shape, named: str = "") -> str:
    """The name of the bank's body that is meant, or ``"new"``.

    Args:
        bank: of one body or several.
        asked: a body's name, ``"new"``, or ``"auto"``: the one that sees and does as many numbers.
        shape: how many these are.
        named: which of those that are alike is meant, as the name of the bank that ships for it.

    Raises:
        UserError: for one it has not, or where several are as large.
    """
    sizes = sizes_of(bank)
    if asked == AUTO:
        alike = [name for name, size in sizes.items() if size == shape]
        if named in alike:
            return named
        if len(alike) > 1:
            raise UserError(f"body=auto: {' and '.join(alike)} of the bank are as large; name one, or body={NEW}")
        return alike[0] if alike else NEW
    if asked != NEW and asked not in sizes:
        raise unknown("body", asked, [AUTO, NEW, *sizes])
    if asked != NEW and sizes[asked] != shape:
        raise UserError(f"body={asked}: has {_said(sizes[asked])}, the environment {_said(shape)}; use body={NEW}")
    return asked


def composed(bank: TemplateBank, shape: Shape, size: Size, body: str) -> tuple[WeiT, Any]:
    """A policy of that size and body from the bank, without its head; and the whole, with it.

    The policy asks for one return throughout, which makes its last scale and shift constant: they go into ``norm_out``.
    """
    model, rtg = MODELS.get(model_of(bank)), bank.card.get("config", {}).get("rtg", "latest")
    plan = model.plan(TILE).with_tiles(bank.tiles)
    source = _fresh(model_of(bank), bank.network_size(), *shape, rtg=rtg)
    if body == NEW:
        bank = with_parts(bank, parts_of(source, plan, model.bound))
    else:
        bank = bank_for(bank, body, source, plan, model.bound)
    whole: Any = network_of_size(bank, source, _fresh(model_of(bank), size, *shape, rtg=rtg), plan).materialize()
    target = _fresh(model_of(bank), size, *shape)
    del target.head
    net = network_of_size(bank, source, target, plan)
    net.bank.requires_grad_(False)
    fold_return(whole, net.free)
    return net, whole


def with_memory(net: WeiT) -> WeiT:
    """Give the placeholders of the weights memory, since TD3 writes all parameters of its target network."""
    for placeholder in net.net.parameters():
        placeholder.data = placeholder.data.contiguous()
    return net


def trained(checkpoint: str, shape: Shape, models: tuple[str, ...] = FAMILIES[False]) -> tuple[Size, nn.Module, Any]:
    """The size of a checkpoint's network, the network without its head, and the whole.

    Raises:
        UserError: if it is of another family or for another body.
    """
    path = Path(checkpoint).expanduser()
    whole, card = load_network(path / "checkpoints" / "last.safetensors" if path.is_dir() else path)
    _refuse_others(f"checkpoint={checkpoint}", card["model"], models)
    made_for = seen(whole.get_buffer("observation_mean")), card["options"]["action_dim"]
    if made_for != shape:
        have, want = _said(made_for), _said(shape)
        raise UserError(f"checkpoint={checkpoint}: was trained with {have}, the environment has {want}; give its own")
    size = Size(*card["size"])
    net = _fresh(card["model"], size, *shape)
    state = whole.state_dict()
    net.load_state_dict({name: state[name] for name in net.state_dict()})
    del net.head
    fold_return(whole, dict(net.named_parameters()))
    return size, net, whole


@torch.no_grad()
def fold_return(policy: Any, free: Any) -> None:
    """Put what the policy's target return does to its last hidden state into the free ``norm_out`` of another one."""
    if policy.rtg == "latest":
        scale, shift = policy.modulate((policy.target_return / policy.return_scale).reshape(1)).chunk(2)
        weight, bias = (free[f"norm_out.{name}"] for name in ("weight", "bias"))
        weight.mul_(1 + scale)
        bias.mul_(1 + scale).add_(shift)


def _refuse_others(what: str, model: str, models: tuple[str, ...]) -> None:
    if model not in models:
        raise UserError(f"{what}: is of model={model}; WeiTPolicy takes model={' or '.join(models)} here")


def _fresh(model: str, size: Size, observation_dim: int | list[int], action_dim: int, **options: Any) -> Any:
    spaces = {"observation_dim": observation_dim, "action_dim": max(1, action_dim)}
    return MODELS.get(model).make(size, **spaces, **{"rtg": "none", **options})


def _said(shape: Shape) -> str:
    return f"{shape[0]} observations and {shape[1]} actions"


def _shape(observations: spaces.Space, actions: spaces.Space) -> Shape:
    """What is seen, and how many numbers are in an action (0 for a choice, which no bank has a head for)."""
    pictures = is_image_space(observations)
    if not isinstance(observations, spaces.Box) or (len(observations.shape) != 1 and not pictures):
        raise UserError(
            f"observation space {observations}: WeiTPolicy takes a flat Box, or pictures; wrap it in FlattenObservation"
        )
    what: int | list[int] = [observations.shape[0], 1, 1] if pictures else observations.shape[0]
    return what, math.prod(actions.shape) if isinstance(actions, spaces.Box) else 0
