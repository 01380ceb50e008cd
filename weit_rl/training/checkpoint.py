"""Checkpoints: plain networks with all they need to act, and the state a stopped stage goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.normaliser import with_limits
from weit_rl.models import MODELS
from weit_rl.models.images import buffers_of, without_normaliser
from weit_rl.models.memory_check import shapes_of
from weit_rl.storage.tensor_file import newest, read_tensors, write_tensors

NETWORK = "weit_rl network 1"
TRAINING = "weit_rl training state 1"
NORMALISER = "normaliser"


def save_network(path: Path, net: nn.Module, card: dict[str, Any]) -> None:
    """Write a plain network; ``card`` names its ``model``, ``size`` ([width, depth]) and build ``options``.

    A normaliser of images goes into the card: the tensors are those of timm's own network, which reads them.
    """
    state, numbers = without_normaliser({name: t.detach() for name, t in net.state_dict().items()})
    write_tensors(path, state, {"format": NETWORK, **card} | ({NORMALISER: numbers} if numbers else {}))


def load_network(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network a checkpoint describes and fill it; raises UserError if the file is not one."""
    tensors, card = read_tensors(path)
    if card.get("format") != NETWORK:
        raise UserError(f"{path}: not a network checkpoint (format {card.get('format')!r})")
    try:
        # older files have an image normaliser among the tensors, and no limits
        tensors = with_limits(tensors | buffers_of(card.pop(NORMALISER, {})))
        net = _described(card, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        net.load_state_dict(tensors)
    except Exception as error:  # a card may say anything
        reason = " ".join(f"{error}".split())[:200]
        raise UserError(
            f"{path}: its card tells of another network than its tensors ({reason}); make it again"
        ) from error
    return net.eval(), card


def _described(card: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> nn.Module:
    """The network that a card tells of; ValueError, before memory is taken for it, if its tensors are others."""
    model, size = MODELS.get(card["model"]), Size(*card["size"])
    if size.depth > len(shapes):
        raise ValueError(f"{size.depth} blocks in {len(shapes)} tensors")
    wanted = shapes_of(lambda: model.build(size, **card["options"]))
    wrong = sorted(name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name))
    if wrong:
        raise ValueError(f"{wrong[0]} is {shapes.get(wrong[0])}, not {wanted.get(wrong[0])}")
    return model.build(size, **card["options"])


def save_training(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write module and optimiser after ``step`` finished steps; the state before this one is kept, too."""
    write_training(path, training_tensors(module, optimizer), step)


def training_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Module and optimiser as tensors by name."""
    return {f"module.{name}": t.detach() for name, t in module.state_dict().items()} | flatten_optimizer(optimizer)


def write_training(path: Path, tensors: dict[str, Tensor], step: int) -> None:
    """Write what :func:`training_tensors` gave after ``step`` finished steps."""
    write_tensors(path, tensors, {"format": TRAINING, "step": step}, keep=True)


def load_training(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
    """Fill module and optimiser from the newest state that is whole; returns the number of finished steps.

    Without a state that is None. A damaged one is replaced by the one before it, which is then the newest.
    """
    stored = read_training(path)
    return None if stored is None else fill_training(path, module, optimizer, *stored)


def read_training(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and the card of the newest state that is whole, which is at ``path`` then; None without a state."""
    if (place := newest(path)) is None:
        return None
    if place != path:
        place.replace(path)
    tensors, card = read_tensors(path)
    if card.get("format") != TRAINING:
        raise UserError(f"{path}: not a training state (format {card.get('format')!r})")
    return tensors, card


def fill_training(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], card: dict[str, Any]
) -> int:
    """Fill module and optimiser from a state that was read; returns the number of finished steps."""
    try:
        module.load_state_dict({name[7:]: t for name, t in tensors.items() if name.startswith("module.")})
        fill_optimizer(optimizer, tensors)
        return step_of(card)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(f"{error}".split())[:200]
        raise UserError(f"{path}: is the state of another stage ({reason}); restore it or start anew") from error


def step_of(card: dict[str, Any]) -> int:
    """The number of finished steps that a training state tells; ValueError if it tells none."""
    if type(step := card.get("step")) is not int or step < 0:
        raise ValueError(f"step {step!r}")
    return step


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
