"""From a composed config to the things a verb works with; everything bad is found here, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from weit_rl.bank import TemplateBank
from weit_rl.data import load_trajectories
from weit_rl.envs.entry import env_entry
from weit_rl.errors import UserError
from weit_rl.sizes import Size
from weit_rl.tasks.control import Control, ControlConfig

BANKS = Path(__file__).parents[1] / "assets" / "banks"


def device_of(cfg: Any) -> str:
    """``cfg.device`` with ``auto`` decided; raises UserError for a device this machine lacks."""
    if cfg.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return str(torch.zeros(1, device=cfg.device).device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={cfg.device}: not on this machine; use device=cpu or device=auto") from error


def use_threads(cfg: Any) -> None:
    """Let torch use ``cfg.threads`` CPU threads (null: its own choice)."""
    if cfg.threads is not None:
        if cfg.threads < 1:
            raise UserError(f"threads={cfg.threads}: must be 1 or more")
        torch.set_num_threads(cfg.threads)


def control_task(cfg: Any, tile: int) -> Control:
    """The control task of a config: environment, data, model options."""
    entry = env_entry(cfg.env)
    for name in ("batch_size", "context", "episodes"):
        if cfg[name] < 1:
            raise UserError(f"{name}={cfg[name]}: must be 1 or more")
    config = ControlConfig(
        tile=tile,
        context=cfg.context,
        rtg=cfg.rtg,
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        target_return=cfg.get("target_return"),
        device=device_of(cfg),
    )
    return Control(entry, load_trajectories(cfg.data, entry), config)


def size_of(group: Any) -> Size:
    """The size a config asks for: a named one, with width or depth replaced where given."""
    named = Size.parse(group.name)
    width = named.width if group.width is None else group.width
    depth = named.depth if group.depth is None else group.depth
    return Size(width, depth)


def steps_of(cfg: Any, name: str, least: int = 0) -> int:
    """A step budget, checked."""
    if cfg[name] < least:
        raise UserError(f"{name}={cfg[name]}: must be {least} or more")
    return int(cfg[name])


def bank_path(cfg: Any) -> Path:
    """The bank a config names, or the one that ships for its environment."""
    if cfg.bank is not None:
        return Path(cfg.bank)
    path = BANKS / f"{cfg.env}.safetensors"
    if not path.is_file():
        have = ", ".join(sorted(p.stem for p in BANKS.glob("*.safetensors"))) or "none"
        raise UserError(f"no bank ships for env={cfg.env} (only {have}); give bank=PATH, or use init=scratch")
    return path


def source_of(bank: TemplateBank, task: Control) -> Any:
    """A plain network of the size the bank was pre-trained with."""
    if "size" not in bank.card:
        raise UserError("the bank holds templates but no pre-trained network; make one with weit_rl.pretrain")
    return task.build(Size(*bank.card["size"]))
