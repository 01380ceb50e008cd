"""Make banks and sources from a config; errors are raised here, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.sizes import HEAD_DIM, Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.bank_bodies import BUFFER, bank_for, bank_with_parts
from weit_rl.core.bank_match import check_bank, stored_options
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.normaliser import renew_normaliser
from weit_rl.models import models_of
from weit_rl.models.registry import Model
from weit_rl.models.shipped_banks import named_bank, shipped_bank, shipped_for, shipped_names
from weit_rl.options.image_training_options import TrainingOptions
from weit_rl.options.model_words import WORDS
from weit_rl.tasks import Task, task_entry_of


def check_model(cfg: Mapping[str, Any]) -> None:
    """Raise UserError for a model of another task; tasks of other packages may use any model."""
    names = models_of(cfg.get("task") or "control")
    if names and cfg.get("model") not in (None, *names):
        raise unknown_name_error("model", str(cfg["model"]), names)


def head_dim_of(card: Mapping[str, Any]) -> int:
    """Read the channels of an attention head from the card of a bank or checkpoint."""
    return int(card["size"][2]) if "size" in card else HEAD_DIM


def bank_path(cfg: TrainingOptions) -> Path:
    """Return the path of the config's bank, or of the bank that ships for its environment or data set and model."""
    model = str(cfg.model)
    if cfg.bank is not None:
        return Path(named_bank(cfg.bank, model))
    kind = task_entry_of(cfg)
    path = shipped_bank(kind.name(cfg), model)
    if not path.is_file():
        wanted = f"{kind.subject}={cfg[kind.subject]} with model={model}"
        shipped, others = ", ".join(shipped_names()), shipped_for(model)
        such = f", that of another (bank={others[0]})" if others else ""
        raise UserError(f"no bank ships for {wanted} (shipped: {shipped}); give bank=PATH{such}, or use init=scratch")
    return path


def bank_of(bank: TemplateBank, task: Task) -> TemplateBank:
    """Adapt a bank to the task's body; parameters that are bound to a new body are fresh.

    Observation entries that never moved in the bank's data are normalised by the task's data instead. The card lists
    them in ``renewed_columns``.
    """
    _same_options(bank, task)
    net = task.build(bank_size(bank), task.config.seed)
    body, tasks = getattr(task, "body", task.name), getattr(task, "tasks", ())
    own = bank_for(bank, body, net, task.plan, task.model.bound, task.model.transferred, tasks)
    trained = {name.removeprefix(BUFFER): t for name, t in own.source.items() if name.startswith(BUFFER)}
    buffers, columns = renew_normaliser(trained, dict(net.named_buffers()))
    parts = {BUFFER + name: buffer for name, buffer in buffers.items()}
    return bank_with_parts(own, parts, renewed_columns=columns) if columns else own


def bank_size(bank: TemplateBank) -> Size:
    """Return the size of the bank's own network; UserError if the bank holds none."""
    return bank.network_size()


def bank_network(bank: TemplateBank, task: Task) -> nn.Module:
    """Build the bank's own network with its weights, as a plain network; UserError if the bank does not fit."""
    _same_options(bank, task)
    net = task.build(bank_size(bank))
    return network_of_size(bank, net, net, task.plan).materialize()


def _same_options(bank: TemplateBank, task: Task) -> None:
    """Raise UserError if a bank was made for another model than the task's, or with other options."""
    card = task.card(bank_size(bank))
    check_bank(bank.card, card["model"], card["options"], task.model.options(), task.model.free_options)


def inherited_options(card: Mapping[str, Any], model: Model, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of its model that a network takes from its source.

    These are the ones that no word of the commands names, such as ``activation``, unless the run gives its own or they
    are for training alone.

    Args:
        card: of a bank or a network.
        model: of the network.
        given: the run's ``model_options``.
    """
    made = stored_options(card) if "config" in card else card.get("options", {})
    own = {*model.options()} - {*WORDS, *model.free_options, *given}
    return {name: value for name, value in made.items() if name in own}


def same_heads(what: str, made: Size, size: Size) -> None:
    """Raise UserError if a size has other attention heads than the source it is made from."""
    if made.head_dim != size.head_dim:
        raise UserError(
            f"{what}: has heads of {made.head_dim} channels, size={size} of {size.head_dim}; "
            f"give size={size.width}x{size.depth}x{made.head_dim}"
        )
