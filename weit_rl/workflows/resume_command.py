"""Write the command that resumes a stopped run, for error lines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weit_rl.envs.registry import imports_module


def command_to_resume(verb: str, path: Path, config: Mapping[str, Any]) -> str:
    """Return the command that resumes a run.

    Args:
        verb: the command that made the run, such as "train".
        path: the run's folder.
        config: the config of the run.
    """
    task = [f"task={config['task']}"] if "task" in config else []
    return " ".join(["python -m", f"weit_rl.{verb}", *task, words_to_resume(path, config)])


def words_to_resume(path: Path, config: Mapping[str, Any]) -> str:
    """Return ``resume=PATH``, quoted for a shell, and ``env=`` if a user must trust its module again.

    Args:
        path: the run's folder.
        config: the config of the run.
    """
    env = config.get("env")
    trusted = any(map(imports_module, as_list(env)))
    module = [f"env={env if isinstance(env, str) else json.dumps(as_list(env))}"] if trusted else []
    return shlex.join([f"resume={path}", *module])


def as_list(value: Any) -> list[str]:
    """Return one text or several as a list; None is an empty list."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)
