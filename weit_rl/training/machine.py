"""Describe what a run depends on besides its config: machine, versions, seed, command line."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from weit_rl.common.cpu_cores import usable_cores

PACKAGES = ("weit_rl", "torch", "numpy", "gymnasium", "mujoco", "dm-control", "stable-baselines3", "minari")


def describe_environment(seed: int) -> dict[str, Any]:
    """Collect the content of a run folder's ``environment.json``."""
    import torch

    return {
        "command": shlex.join(sys.orig_argv),
        "seed": seed,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "usable_cores": usable_cores(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        # torch.__version__ also names the build ("+cu132", "+cpu")
        "versions": {name: _version(name) for name in PACKAGES} | {"torch": str(torch.__version__)},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the checkout that this code runs from ("-dirty" if edited), None for an installed wheel."""
    checkout = Path(__file__).parents[2]
    if not (checkout / "pyproject.toml").is_file():
        return None  # an installed package may lie inside another project's repository
    words = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
