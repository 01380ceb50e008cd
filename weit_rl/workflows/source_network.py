"""Load the trained network that is a run's source: another run, a checkpoint, or a checkpoint of timm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.sizes import Size
from weit_rl.core.bank_match import check_same
from weit_rl.core.normaliser import renew_normaliser
from weit_rl.envs.registry import env_entry
from weit_rl.models import MODELS
from weit_rl.models.timm_checkpoint import load_into, load_timm, timm_card, timm_file
from weit_rl.options.model_words import TRAINED
from weit_rl.storage.tensor_file import read_card
from weit_rl.tasks import Task
from weit_rl.training.checkpoint import load_network
from weit_rl.workflows.run_setup import same_heads

CODES = "codes"  # number of tasks, of a network for tasks of a family
BESIDE = ("size", "options", *TRAINED)  # in which source and target may differ


def card_at(path: str) -> dict[str, Any]:
    """Read the card of a source."""
    place = expand_home(path)
    foreign = timm_file(place)
    return timm_card(foreign) if foreign else read_card(_checkpoint(place))


def network_at(path: str, task: Task, size: Size) -> nn.Module:
    """Load the trained network of a source.

    Observation entries that never moved in its data are normalised by the task's data instead. A network of several
    tasks of a family becomes one of the target's tasks: a task that it was trained for keeps its code, and a new one
    starts at the mean of all codes, as with a bank.

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
    _same_options(path, card, task.card(size), _same_family(path, card, task))
    fresh = task.build(size)
    for name, buffer in renew_normaliser(dict(net.named_buffers()), dict(fresh.named_buffers()))[0].items():
        net.get_buffer(name).copy_(buffer)
    if tasks := getattr(task, "tasks", ()):
        set_codes(net, _tasks_of(card), tasks)
    return net.to(task.config.device)


def has_new_task(path: str, task: Task) -> bool:
    """Return True if a source is a network of a family that lacks one of the target's tasks."""
    known = _tasks_of(card_at(path))
    return bool(known) and any(one not in known for one in getattr(task, "tasks", ()))


@torch.no_grad()
def set_codes(net: Any, known: Sequence[str], tasks: Sequence[str]) -> None:
    """Replace the codes of a network of several tasks by those of other tasks.

    Args:
        net: the network, with a code for each known task.
        known: the tasks that it was trained for, in their order.
        tasks: the wanted tasks, in their order; a new one takes the mean of the codes.
    """
    mean = net.task_code.mean(0)
    rows = [net.task_code[known.index(task)] if task in known else mean for task in tasks]
    net.task_code, net.codes = nn.Parameter(torch.stack([row.cpu() for row in rows])), len(tasks)


def _tasks_of(card: dict[str, Any]) -> list[str]:
    """Return the tasks that a network of a family has codes for, in their order; none if it has no codes."""
    names = card["env"] if CODES in card["options"] else []
    return [names] if isinstance(names, str) else list(names)


def _same_family(path: str, card: dict[str, Any], task: Task) -> bool:
    """Return True if source and target are both of one family of tasks; UserError for a family and something else."""
    known, wanted = _tasks_of(card), getattr(task, "tasks", ())
    families = {env_entry(name).family for name in (*known, *wanted)}
    if len(families) > 1 or bool(known) != bool(wanted):
        made = f"{len(known)} tasks of {env_entry(known[0]).family}" if known else f"env={card.get('env')}"
        raise UserError(f"source={path}: was trained for {made}, not for {task.name}; give a source made for that")
    return bool(families)


def _checkpoint(place: Path) -> Path:
    return place / "checkpoints" / "last.safetensors" if place.is_dir() else place


def _same_options(path: str, card: dict[str, Any], mine: dict[str, Any], one_family: bool) -> None:
    """Raise UserError if a source was made with other options, or for another environment that is no relative."""
    model = MODELS.get(mine["model"])
    beside = dict.fromkeys((*BESIDE, *model.free_options))
    beside |= dict.fromkeys((CODES, "env") if one_family else ())
    usual = model.options()  # an older card lacks options that came later
    made, wanted = ({**{key: c.get(key) for key in mine}, **usual, **c["options"], **beside} for c in (card, mine))
    if made != wanted:
        other = [key for key in {**made, **wanted} if made.get(key) != wanted.get(key)]
        have, asked = (", ".join(f"{key}={c.get(key)}" for key in other) for c in (made, wanted))
        raise UserError(f"source={path}: was made with {have}, this run asks for {asked}; give the same options")
