"""The zip of a Stable-Baselines3 agent, which is no data: episodes are recorded with it first."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NoReturn

from weit_rl.common.errors import UserError
from weit_rl.data.formats.registry import FORMATS, Format


def accepts(path: Path) -> bool:
    """A file named as a zip."""
    return path.is_file() and path.suffix == ".zip"


def read(path: Path) -> NoReturn:
    """Say how to come from an agent to data."""
    record = f"python -m weit_rl.collect mode=record {shlex.quote(f'agent={path}')} allow_pickle=true env=..."
    raise UserError(f"data {path}: a .zip holds no episodes; if it is a Stable-Baselines3 agent, record some: {record}")


FORMATS.add("sb3", Format("Stable-Baselines3 agent", accepts, read))
