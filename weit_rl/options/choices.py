"""The values that options may have; all of it is known without torch, so that a wrong one is answered at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.process_start import process_count
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.seeds import MOST_SEED, SEEDS_APART
from weit_rl.common.sizes import HEAD_DIM, Size
from weit_rl.options import model_words
from weit_rl.options.option_groups import SizeOptions

PRECISIONS = ("highest", "high", "medium")  # torch's names
STRATEGIES = ("auto", "ddp", "fsdp")
DEFAULT = "dt"  # the model where nobody says which; the bank of an environment without a suffix
ACTOR = "mlp"  # the one that goes on online
CHOICES = {**model_words.CHOICES, "precision": PRECISIONS}
ONLINE = ("agent_options", "imitation", "critic_warmup")  # without an agent they would be passed over in silence
RANGES = {  # least and most; episodes end where they would meet those of another seed
    "seed": (0, MOST_SEED),
    "episodes": (1, SEEDS_APART),
    "validation_episodes": (0, SEEDS_APART),
    "warmup": (0, 1),
    "dropout": (0, 0.99),
    "drop_path": (0, 0.99),
    "best_fraction": (0, 1),
    "ema": (0, 0.99999),
    "weight_decay": (0, None),
    "scaler_steps": (0, None),
    "train_steps": (0, None),
    "critic_warmup": (0, None),
    "imitation": (0, None),
    **dict.fromkeys(("steps", "pretrain_steps", "batch_size", "batch", "context", "tile", "rank"), (1, None)),
    **dict.fromkeys(("data_episodes", "evaluate_every", "threads", "agent_steps", "n_envs"), (1, None)),
    "workers": (0, None),
    **dict.fromkeys(("samples", "sampling_steps", "data_images"), (1, None)),
    **{name: (least, None) for name, least in model_words.LEAST.items()},
    "timesteps": (2, None),
}
POSITIVE = ("lr", "scaler_lr", "train_lr", "grad_clip")


def usual_model(agent: str | None) -> str:
    """Choose the model of control if none is given."""
    return DEFAULT if agent is None else ACTOR


def check_numbers(cfg: Mapping[str, Any]) -> None:
    """Raise UserError for a number of a config that is out of its range."""
    given = {name: cfg[name] for name in cfg if isinstance(cfg[name], int | float)}  # neither null nor auto
    for name, (least, most) in RANGES.items():
        if name in given and not least <= given[name] <= (math.inf if most is None else most):
            wanted = f"{least} or more" if most is None else f"from {least} to {most}"
            raise UserError(f"{name}={given[name]}: must be {wanted}")
    for name in POSITIVE:
        if name in given and given[name] <= 0:
            raise UserError(f"{name}={given[name]}: must be more than 0")


def check_choices(cfg: Mapping[str, Any]) -> None:
    """Raise UserError for a word of a config that is none of those there are, or that belongs to what is not asked."""
    for name, choices in CHOICES.items():
        if name in cfg and cfg[name] not in choices:
            raise unknown_name_error(name, cfg[name], list(choices))
    model_words.check_agreement(cfg)
    idle = [name for name in ONLINE if cfg.get(name) not in (None, {})]
    if idle and cfg.get("agent") is None:
        raise UserError(f"{', '.join(idle)}: is for going on online; add agent=sac, or leave it out")


def check_trainer(cfg: Mapping[str, Any]) -> None:
    """Raise UserError where the training that a config describes cannot be divided among its processes."""
    if "trainer" not in cfg:
        return
    devices, strategy, count = cfg["trainer"].devices, cfg["trainer"].strategy, process_count()
    devices = count if devices is None else devices
    if strategy not in STRATEGIES:
        raise unknown_name_error("trainer.strategy", strategy, list(STRATEGIES))
    if strategy == "fsdp" and "train_steps" not in cfg:
        raise UserError("trainer.strategy=fsdp: parts plain networks; the factors of pre-training are few, use ddp")
    if strategy == "fsdp" and cfg.get("ema"):
        raise UserError(f"ema={cfg['ema']}: averages a whole network; use trainer.strategy=ddp, or leave it out")
    if devices < 1:
        raise UserError(f"trainer.devices={devices}: must be 1 or more")
    if count > 1 and devices != count:
        raise UserError(f"trainer.devices={devices}: {count} processes were started already; leave it out")
    count = max(count, devices)
    if count > 1 and cfg["batch_size"] % count:
        raise UserError(f"batch_size={cfg['batch_size']}: is shared by {count} processes; give a multiple of {count}")
    if count > 1 and cfg.get("agent") is not None:
        raise UserError(f"agent={cfg['agent']}: learns in one process; leave out trainer.devices or agent")


def size_of(group: SizeOptions, head_dim: int = HEAD_DIM) -> Size:
    """Read the size that a config asks for: a named one, with width or depth replaced where given.

    Args:
        group: of the config.
        head_dim: channels of an attention head, where the size does not say.
    """
    named = Size.parse(group.name, head_dim)
    width = named.width if group.width is None else group.width
    depth = named.depth if group.depth is None else group.depth
    return Size(width, depth, named.head_dim)
