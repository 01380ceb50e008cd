"""Load the trained network that is a run's source: another run, a checkpoint, or a checkpoint of timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.sizes import Size
from weit_rl.core.bank_match import check_same
from weit_rl.core.normaliser import renew_normaliser
from weit_rl.models import MODELS
from weit_rl.models.timm_checkpoint import load_into, load_timm, timm_card, timm_file
from weit_rl.options.model_words import TRAINED
from weit_rl.storage.tensor_file import read_card
from weit_rl.tasks import Task
from weit_rl.training.checkpoint import load_network
from weit_rl.workflows.run_setup import same_heads

BESIDE = ("size", "options", *TRAINED)  # in which source and target may differ


def card_at(path: str) -> dict[str, Any]:
    """Read the card of a source."""
    place = expand_home(path)
    foreign = timm_file(place)
    return timm_card(foreign) if foreign else read_card(_checkpoint(place))


def network_at(path: str, task: Task, size: Size) -> nn.Module:
    """Load the trained network of a source.

    Observation entries that never moved in its data are normalised by the task's data instead.

    Args:
        path: run folder or checkpoint.
        task: the task of the target.
        size: the size of the target.

    Raises:
        UserError: if the source is of another family, or has other attention heads or options.
    """
    place = expand_home(path)
    foreign = timm_file(place)
    net, card = load_timm(foreign, size.head_dim) if foreign else load_network(_checkpoint(place))
    check_same(f"source={path}", card["model"], task.config.model)
    same_heads(f"source={path}", Size(*card["size"]), size)
    if foreign:
        loaded: nn.Module = load_into(net, task.build(Size(*card["size"]), task.config.seed), path)
        return loaded
    _same_options(path, card, task.card(size))
    for name, buffer in renew_normaliser(dict(net.named_buffers()), dict(task.build(size).named_buffers()))[0].items():
        net.get_buffer(name).copy_(buffer)
    return net.to(task.config.device)


def _checkpoint(place: Path) -> Path:
    return place / "checkpoints" / "last.safetensors" if place.is_dir() else place


def _same_options(path: str, card: dict[str, Any], mine: dict[str, Any]) -> None:
    model = MODELS.get(mine["model"])
    beside = dict.fromkeys((*BESIDE, *model.free_options))
    usual = model.options()  # an older card lacks options that came later
    made, wanted = ({**{key: c.get(key) for key in mine}, **usual, **c["options"], **beside} for c in (card, mine))
    if made != wanted:
        other = [key for key in {**made, **wanted} if made.get(key) != wanted.get(key)]
        have, asked = (", ".join(f"{key}={c.get(key)}" for key in other) for c in (made, wanted))
        raise UserError(f"source={path}: was made with {have}, this run asks for {asked}; give the same options")
