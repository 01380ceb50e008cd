"""The words that go on with a stopped run, for the lines that advise it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weit_rl.envs.registry import imports_module


def command_to_resume(verb: str, path: Path, config: Mapping[str, Any]) -> str:
    """Return the command that goes on with a run.

    Args:
        verb: the command that made it, such as "train".
        path: the run's folder.
        config: of the run.
    """
    task = [f"task={config['task']}"] if "task" in config else []
    return " ".join(["python -m", f"weit_rl.{verb}", *task, words_to_resume(path, config)])


def words_to_resume(path: Path, config: Mapping[str, Any]) -> str:
    """Return ``resume=PATH``, quoted for a shell, and ``env=`` where an environment's module has to be trusted again.

    Args:
        path: the run's folder.
        config: of the run.
    """
    env = config.get("env")
    trusted = any(map(imports_module, texts(env)))
    said = [f"env={env if isinstance(env, str) else json.dumps(texts(env))}"] if trusted else []
    return shlex.join([f"resume={path}", *said])


def texts(value: Any) -> list[str]:
    """Return one or several texts as a list; none as an empty one."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)
