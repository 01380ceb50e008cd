"""From a composed config to the things a verb works with; everything bad is found here, before anything is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weit_rl.agents.evaluation import SEEDS_APART
from weit_rl.bank import TemplateBank
from weit_rl.bodies import bank_for
from weit_rl.errors import UserError
from weit_rl.models import DEFAULT, models_of
from weit_rl.registry import unknown
from weit_rl.shipped import BANKS, shipped_bank
from weit_rl.sizes import Size
from weit_rl.start import network_of_size
from weit_rl.tasks import Task, kind_of
from weit_rl.tensorfile import read_card
from weit_rl.training.checkpoint import load_network

RANGES = {  # least and most; seeds and episodes end where they would meet those of another seed
    "seed": (0, SEEDS_APART - 1),
    "episodes": (1, SEEDS_APART),
    "validation_episodes": (0, SEEDS_APART),
    "warmup": (0, 1),
    "dropout": (0, 0.99),
    "best_fraction": (0, 1),
    "ema": (0, 0.99999),
    "weight_decay": (0, None),
    "scaler_steps": (0, None),
    "train_steps": (0, None),
    "critic_warmup": (0, None),
    **dict.fromkeys(("steps", "pretrain_steps", "batch_size", "context", "tile", "rank"), (1, None)),
    **dict.fromkeys(("data_episodes", "evaluate_every", "threads", "workers", "agent_steps", "n_envs"), (1, None)),
}
BESIDE = dict.fromkeys(("size", "options", "dropout"))  # what the networks of one family may differ in
POSITIVE = ("lr", "scaler_lr", "train_lr", "grad_clip")


def check_numbers(cfg: Any) -> None:
    """Raise UserError for a number of a config that is out of its range."""
    given = {name: cfg[name] for name in cfg if isinstance(cfg[name], int | float)}  # neither null nor auto
    for name, (least, most) in RANGES.items():
        if name in given and not least <= given[name] <= (math.inf if most is None else most):
            wanted = f"{least} or more" if most is None else f"from {least} to {most}"
            raise UserError(f"{name}={given[name]}: must be {wanted}")
    for name in POSITIVE:
        if name in given and given[name] <= 0:
            raise UserError(f"{name}={given[name]}: must be more than 0")


def check_model(cfg: Any) -> None:
    """Raise UserError for a model that is not for the config's task; tasks of other packages have those they like."""
    names = models_of(cfg.get("task") or "control")
    if names and cfg.get("model") not in (None, *names):
        raise unknown("model", str(cfg.model), names)


def size_of(group: Any) -> Size:
    """The size a config asks for: a named one, with width or depth replaced where given."""
    named = Size.parse(group.name)
    width = named.width if group.width is None else group.width
    depth = named.depth if group.depth is None else group.depth
    return Size(width, depth)


def bank_path(cfg: Any) -> Path:
    """The bank a config names, or the one that ships for its environment or data set, and model."""
    if cfg.bank is not None:
        return Path(cfg.bank)
    kind = kind_of(cfg)
    path = shipped_bank(kind.name(cfg), cfg.model)
    if not path.is_file():
        cards = {p.stem: model_of(read_card(p)) for p in sorted(BANKS.rglob("*.safetensors"))}
        have = ", ".join(f"{name.removesuffix(f'-{model}')} {model}" for name, model in cards.items()) or "none"
        raise UserError(
            f"no bank ships for {kind.subject}={cfg[kind.subject]} with model={cfg.model} (shipped: {have}); "
            "give bank=PATH, or use init=scratch"
        )
    return path


def model_of(card: Mapping[str, Any]) -> str:
    """The model a bank was made for; one that does not say is older than the choice."""
    return str(card.get("model", DEFAULT))


def bank_of(bank: TemplateBank, task: Task) -> TemplateBank:
    """The bank as one of the task's body; what is bound to a body that it does not know is fresh."""
    same_model("bank", model_of(bank.card), task)
    net = task.build(full_size(bank), task.config.seed)
    return bank_for(bank, task.name, net, task.plan, task.model.bound)


def full_size(bank: TemplateBank) -> Size:
    """The size of the network a bank was pre-trained with; UserError if it holds none."""
    return bank.network_size()


def source_of(bank: TemplateBank, task: Task) -> Any:
    """The plain network the bank was pre-trained with, its weights in it; raises UserError if the bank does not fit."""
    same_model("bank", model_of(bank.card), task)
    net = task.build(full_size(bank))
    return network_of_size(bank, net, net, task.plan).materialize()


def same_model(what: str, made: str, task: Task) -> None:
    """UserError where something was made for another model."""
    if made != task.config.model:
        raise UserError(
            f"{what}: was made for model={made}, this run asks for model={task.config.model}; make them the same"
        )


def network_at(path: str, task: Task) -> Any:
    """The trained network of a run folder or checkpoint; raises UserError if it is of another family."""
    place = Path(path).expanduser()
    net, card = load_network(place / "checkpoints" / "last.safetensors" if place.is_dir() else place)
    same_model(f"source={path}", card["model"], task)
    mine = task.card(Size(64, 1))
    made, wanted = ({**{key: c.get(key) for key in mine}, **c["options"], **BESIDE} for c in (card, mine))
    if made != wanted:
        made, wanted = ({key: value for key, value in c.items() if value is not None} for c in (made, wanted))
        raise UserError(f"source={path}: was made with {made}, this run asks for {wanted}; give the same options")
    return net.to(task.config.device)
