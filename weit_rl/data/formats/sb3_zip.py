"""The zip of a Stable-Baselines3 agent: no data, but an error line that says how to record some."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NoReturn

from weit_rl.common.errors import UserError
from weit_rl.data.formats.registry import FORMATS, EpisodeFormat


def accepts(path: Path) -> bool:
    """Return True for a file with the suffix .zip."""
    return path.is_file() and path.suffix == ".zip"


def read(path: Path) -> NoReturn:
    """Raise UserError with the command that records episodes with the agent."""
    record = f"python -m weit_rl.collect mode=record {shlex.quote(f'agent={path}')} allow_pickle=true env=..."
    raise UserError(f"data {path}: a .zip holds no episodes; if it is a Stable-Baselines3 agent, record some: {record}")


FORMATS.add("sb3", EpisodeFormat("Stable-Baselines3 agent", accepts, read))
