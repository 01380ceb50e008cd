"""Read and write checkpoints: plain networks with all that they need to act, and training states to resume from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.normaliser import add_missing_limits
from weit_rl.models import MODELS
from weit_rl.models.images import buffers_of, without_normaliser
from weit_rl.models.memory_check import parameter_shapes
from weit_rl.storage.tensor_file import newest_whole_file, read_tensors, write_tensors

NETWORK = "weit_rl network 1"
TRAINING = "weit_rl training state 1"
NORMALISER = "normaliser"


def save_network(path: Path, net: nn.Module, card: dict[str, Any]) -> None:
    """Write a plain network.

    An image normaliser is written to the card. The tensors are then those of timm's network, and timm reads them.

    Args:
        path: the file.
        net: the network.
        card: metadata; it has the ``model``, ``size`` ([width, depth]) and ``options`` that build the network again.
    """
    state, numbers = without_normaliser({name: t.detach() for name, t in net.state_dict().items()})
    write_tensors(path, state, {"format": NETWORK, **card} | ({NORMALISER: numbers} if numbers else {}))


def load_network(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read a network and its card.

    Returns:
        The network in evaluation mode, and the card.

    Raises:
        UserError: if the file is no network checkpoint, or its card does not match its tensors.
    """
    tensors, card = read_tensors(path)
    if card.get("format") != NETWORK:
        raise UserError(f"{path}: not a network checkpoint (format {card.get('format')!r})")
    try:
        # older files have the image normaliser among the tensors, and no limits of observations
        tensors = add_missing_limits(tensors | buffers_of(card.pop(NORMALISER, {})))
        net = _described(card, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        net.load_state_dict(tensors)
    except Exception as error:  # a card may hold anything
        reason = " ".join(f"{error}".split())[:200]
        raise UserError(
            f"{path}: its card describes another network than its tensors ({reason}); make it again"
        ) from error
    return net.eval(), card


def _described(card: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> nn.Module:
    """Build the network that a card describes; ValueError before memory is taken if the tensors do not match."""
    model, size = MODELS.get(card["model"]), Size(*card["size"])
    if size.depth > len(shapes):
        raise ValueError(f"{size.depth} blocks in {len(shapes)} tensors")
    wanted = parameter_shapes(lambda: model.build(size, **card["options"]))
    wrong = sorted(name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name))
    if wrong:
        raise ValueError(f"{wrong[0]} is {shapes.get(wrong[0])}, not {wanted.get(wrong[0])}")
    return model.build(size, **card["options"])


def save_training(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write module and optimiser after ``step`` finished steps; the previous state stays beside the new one."""
    write_training(path, training_tensors(module, optimizer), step)


def training_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Collect the tensors of module and optimiser by name."""
    return {f"module.{name}": t.detach() for name, t in module.state_dict().items()} | flatten_optimizer(optimizer)


def write_training(path: Path, tensors: dict[str, Tensor], step: int) -> None:
    """Write the tensors of :func:`training_tensors` after ``step`` finished steps."""
    write_tensors(path, tensors, {"format": TRAINING, "step": step}, keep=True)


def load_training(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
    """Fill module and optimiser from the newest undamaged state.

    Returns:
        The number of finished steps, or None if there is no state.

    Raises:
        UserError: if the file is no training state, or one of another stage.
    """
    stored = read_training(path)
    return None if stored is None else fill_training(path, module, optimizer, *stored)


def read_training(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the tensors and the card of the newest undamaged state, None if there is none.

    A damaged newest state is replaced by the previous one, so that ``path`` is the state that was read.
    """
    if (place := newest_whole_file(path)) is None:
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
    """Fill module and optimiser from the tensors of a state; returns the number of finished steps."""
    try:
        module.load_state_dict({name[7:]: t for name, t in tensors.items() if name.startswith("module.")})
        fill_optimizer(optimizer, tensors)
        return _finished_steps(card)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(f"{error}".split())[:200]
        raise UserError(f"{path}: is the state of another stage ({reason}); restore it or start anew") from error


def _finished_steps(card: dict[str, Any]) -> int:
    """Read the number of finished steps from a card; ValueError if it has none."""
    if type(step := card.get("step")) is not int or step < 0:
        raise ValueError(f"step {step!r}")
    return step


def flatten_optimizer(optimizer: torch.optim.Optimizer, name: str = "optimizer") -> dict[str, Tensor]:
    """Return the optimiser's state as tensors ``<name>.<index of the parameter>.<key>``."""
    tensors: dict[str, Tensor] = {}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return tensors


def fill_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], name: str = "optimizer") -> None:
    """Fill an optimiser from tensors of :func:`flatten_optimizer`; other names are ignored, its settings stay."""
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        if full_name.startswith(f"{name}."):
            _, index, key = full_name.split(".")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
