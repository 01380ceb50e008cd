"""Checkpoints: plain networks with all they need to act, and the state a stopped stage goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.errors import UserError
from weit_rl.models import MODELS
from weit_rl.sizes import Size
from weit_rl.tensorfile import newest, read_tensors, write_tensors

NETWORK = "weit_rl network 1"
TRAINING = "weit_rl training state 1"


def save_network(path: Path, net: nn.Module, card: dict[str, Any]) -> None:
    """Write a plain network; ``card`` names its ``model``, ``size`` ([width, depth]) and build ``options``."""
    state = {name: t.detach() for name, t in net.state_dict().items()}
    write_tensors(path, state, {"format": NETWORK, **card})


def load_network(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network a checkpoint describes and fill it; raises UserError if the file is not one."""
    tensors, card = read_tensors(path)
    if card.get("format") != NETWORK:
        raise UserError(f"{path}: not a network checkpoint (format {card.get('format')!r})")
    net = MODELS.get(card["model"]).build(Size(*card["size"]), **card["options"])
    net.load_state_dict(tensors)
    return net.eval(), card


def save_training(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write module and optimiser after ``step`` finished steps; the state before this one is kept, too."""
    tensors = {f"module.{name}": t.detach() for name, t in module.state_dict().items()}
    write_tensors(path, tensors | flatten_optimizer(optimizer), {"format": TRAINING, "step": step}, keep=True)


def load_training(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
    """Fill module and optimiser from the newest state that is whole; returns the number of finished steps.

    Without a state that is None. A damaged one is replaced by the one before it, which is then the newest.
    """
    if (place := newest(path)) is None:
        return None
    if place != path:
        place.replace(path)
    tensors, card = read_tensors(path)
    if card.get("format") != TRAINING:
        raise UserError(f"{path}: not a training state (format {card.get('format')!r})")
    module.load_state_dict({name[7:]: t for name, t in tensors.items() if name.startswith("module.")})
    fill_optimizer(optimizer, tensors)
    return int(card["step"])


def flatten_optimizer(optimizer: torch.optim.Optimizer, name: str = "optimizer") -> dict[str, Tensor]:
    """The optimiser's state as tensors ``<name>.<index of the parameter>.<key>``."""
    tensors: dict[str, Tensor] = {}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return tensors


def fill_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], name: str = "optimizer") -> None:
    """The inverse of :func:`flatten_optimizer`; other tensors may lie among them, settings stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        if full_name.startswith(f"{name}."):
            _, index, key = full_name.split(".")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
