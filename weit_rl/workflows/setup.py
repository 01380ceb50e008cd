"""From a composed config to the things a verb works with; everything bad is found here, before anything is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from weit_rl.agents.evaluation import SEEDS_APART
from weit_rl.bank import TemplateBank
from weit_rl.bodies import bank_for
from weit_rl.data import load_trajectories
from weit_rl.envs.entry import EnvEntry, env_entry
from weit_rl.errors import UserError
from weit_rl.models import DEFAULT, MODELS
from weit_rl.models.policy import POSITIONS, RTG
from weit_rl.registry import unknown
from weit_rl.shipped import BANKS, shipped_bank
from weit_rl.sizes import Size
from weit_rl.start import network_of_size
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.tensorfile import read_card
from weit_rl.training.checkpoint import load_network

RANGES = {  # least and most; seeds and episodes end where they would meet those of another seed
    "seed": (0, SEEDS_APART - 1),
    "episodes": (1, SEEDS_APART),
    "validation_episodes": (0, SEEDS_APART),
    "warmup": (0, 1),
    "dropout": (0, 0.99),
    "best_fraction": (0, 1),
    "weight_decay": (0, None),
    "scaler_steps": (0, None),
    "train_steps": (0, None),
    "critic_warmup": (0, None),
    **dict.fromkeys(("steps", "pretrain_steps", "batch_size", "context", "tile", "rank"), (1, None)),
    **dict.fromkeys(("data_episodes", "evaluate_every", "threads", "workers", "agent_steps", "n_envs"), (1, None)),
}
PRECISIONS = ("highest", "high", "medium")  # torch's names
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


def check_kind(model: str, entry: EnvEntry) -> None:
    """UserError for a model that sees another kind of observations than there are, or if nothing can draw them."""
    sees, given = MODELS.get(model).sees, "pictures" if entry.pixels else "states"
    if sees != given:
        others = ", ".join(name for name in MODELS.names() if MODELS.get(name).sees == given)
        change = "leave pixels out" if entry.pixels else "add pixels=true"
        raise UserError(
            f"model={model}: sees {sees}, and env={entry.name} gives {given}; {change}, or use model={others}"
        )
    entry.check_renderer()


def device_of(cfg: Any) -> str:
    """``cfg.device`` with ``auto`` decided; raises UserError for a device this machine lacks."""
    if cfg.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=cfg.device).item()  # the device "meta" can make a tensor, but not read it
        return str(cfg.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={cfg.device}: not on this machine; use device=cpu or device=auto") from error


def set_up_torch(cfg: Any) -> None:
    """Let torch use ``cfg.threads`` CPU threads (null: its own choice) and ``cfg.precision`` for matrix products.

    Raises:
        UserError: for a precision torch does not have.
    """
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    precision = cfg.get("precision", PRECISIONS[0])
    if precision not in PRECISIONS:
        raise unknown("precision", precision, list(PRECISIONS))
    torch.set_float32_matmul_precision(precision)
    # the fused attention of a CPU takes 15 times as long where its small products are rounded one by one
    torch.backends.cuda.enable_flash_sdp(precision != "medium" or device_of(cfg) != "cpu")


def control_task(cfg: Any, tile: int) -> Control:
    """The control task of a config: environment, data, model options."""
    entry = env_entry(cfg.env)
    check_kind(cfg.model, entry)
    for name, choices in {"rtg": RTG, "positions": POSITIONS}.items():
        if cfg[name] not in choices:
            raise unknown(name, cfg[name], list(choices))
    config = ControlConfig(
        model=cfg.model,
        tile=tile,
        context=cfg.context,
        rtg=cfg.rtg,
        past_actions=cfg.past_actions,
        positions=cfg.positions,
        dropout=cfg.dropout,
        data_episodes=cfg.get("data_episodes"),
        best_fraction=cfg.get("best_fraction", 1.0),
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        target_return=cfg.get("target_return"),
        device=device_of(cfg),
    )
    return Control(entry, load_trajectories(cfg.data, entry, weights=cfg.data_weights), config)


def size_of(group: Any) -> Size:
    """The size a config asks for: a named one, with width or depth replaced where given."""
    named = Size.parse(group.name)
    width = named.width if group.width is None else group.width
    depth = named.depth if group.depth is None else group.depth
    return Size(width, depth)


def bank_path(cfg: Any) -> Path:
    """The bank a config names, or the one that ships for its environment and model."""
    if cfg.bank is not None:
        return Path(cfg.bank)
    path = shipped_bank(env_entry(cfg.env).name, cfg.model)
    if not path.is_file():
        cards = [read_card(p) for p in sorted(BANKS.rglob("*.safetensors"))]
        have = ", ".join(f"{card['config']['env']} {model_of(card)}" for card in cards) or "none"
        raise UserError(
            f"no bank ships for env={cfg.env} with model={cfg.model} (shipped: {have}); "
            "give bank=PATH, or use init=scratch"
        )
    return path


def model_of(card: Mapping[str, Any]) -> str:
    """The model a bank was made for; one that does not say is older than the choice."""
    return str(card.get("model", DEFAULT))


def bank_of(bank: TemplateBank, task: Control) -> TemplateBank:
    """The bank as one of the task's body; what is bound to a body that it does not know is fresh."""
    same_model("bank", model_of(bank.card), task)
    net = task.build(full_size(bank), task.config.seed)
    return bank_for(bank, task.entry.name, net, task.plan, task.model.bound)


def full_size(bank: TemplateBank) -> Size:
    """The size of the network a bank was pre-trained with; UserError if it holds none."""
    if "size" not in bank.card:
        raise UserError("the bank holds templates but no pre-trained network; make one with weit_rl.pretrain")
    return Size(*bank.card["size"])


def source_of(bank: TemplateBank, task: Control) -> Any:
    """The plain network the bank was pre-trained with, its weights in it; raises UserError if the bank does not fit."""
    same_model("bank", model_of(bank.card), task)
    net = task.build(full_size(bank))
    return network_of_size(bank, net, net, task.plan).materialize()


def same_model(what: str, made: str, task: Control) -> None:
    """UserError where something was made for another model."""
    if made != task.config.model:
        raise UserError(
            f"{what}: was made for model={made}, this run asks for model={task.config.model}; make them the same"
        )


def network_at(path: str, task: Control) -> Any:
    """The trained network of a run folder or checkpoint; raises UserError if it is of another family."""
    place = Path(path).expanduser()
    net, card = load_network(place / "checkpoints" / "last.safetensors" if place.is_dir() else place)
    same_model(f"source={path}", card["model"], task)
    made, wanted = (
        {"model": c["model"], "env": c["env"], **c["options"], "dropout": None} for c in (card, task.card(Size(64, 1)))
    )
    if made != wanted:
        raise UserError(f"source={path}: was made with {made}, this run asks for {wanted}; give the same options")
    return net.to(task.config.device)
