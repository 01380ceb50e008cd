"""Metadata of a recorded data set."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any

from weit_rl.envs.registry import EnvEntry

VERSIONS = ("gymnasium", "mujoco", "stable-baselines3", "sb3-contrib", "torch", "numpy", "minari")


def describe(
    entry: EnvEntry,
    name: str,
    description: str,
    algorithm: str,
    returns: dict[str, Any],
    dataset_id: str | None = None,
) -> dict[str, Any]:
    """Return Minari's metadata of a recording.

    Args:
        entry: the environment.
        name: of the level or agent.
        description: one line.
        algorithm: that trained the policy.
        returns: of its episodes, by kind of measurement.
        dataset_id: the set's name in Minari (default: ``weit_rl/ENV/NAME-v0``).
    """
    versions = {one: importlib.metadata.version(one) for one in dict.fromkeys((*VERSIONS, *entry.packages))}
    return {
        "dataset_id": dataset_id or f"weit_rl/{_word(entry.slug.lower())}/{_word(name)}-v0",
        "description": description,
        "author": {"weit_rl"},
        "env": entry.name,
        "env_id": entry.gym_id,
        "level": name,
        "algorithm_name": algorithm,
        "algorithm": algorithm,
        "returns": returns,
        "reference_returns": {"random": entry.random_return, "expert": entry.expert_return},
        "ref_min_score": entry.random_return,
        "ref_max_score": entry.expert_return,
        "versions": versions,
        "requirements": [f"{one}=={versions[one]}" for one in entry.packages],
    }


def _word(text: str) -> str:
    """Convert a text to a part of a name in Minari."""
    return re.sub("[^A-Za-z0-9_-]+", "-", text)
