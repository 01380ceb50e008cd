"""Make behaviour data: train a policy, keep snapshots, record random, medium and expert episodes.

``python -m weit_rl.collect env=HalfCheetah``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weit_rl.atomic import write_atomically
from weit_rl.command import command
from weit_rl.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

BEHAVIOUR = ("algorithm", "steps", "n_envs", "seed", "snapshot_every", "hyperparameters")
COUNTS = ("steps", "n_envs", "snapshot_every", "selection_episodes", "evaluation_episodes")


def main(cfg: DictConfig) -> dict[str, Any]:
    """Train, choose the policies of the levels, record and measure them.

    Writes ``behaviour/`` (snapshots), ``selection.json`` and ``data/<level>/`` (Minari data sets) into ``run_dir``.
    What is already there is kept: a stopped run goes on, a finished level is never recorded again.

    Args:
        cfg: the options of ``configs/collect.yaml``.

    Returns:
        For each level its ``path``, the environment ``steps`` its policy was trained for, the ``returns`` of the
        held evaluation and of the recorded episodes, and the ``score``.

    Raises:
        UserError: for an unknown environment, algorithm or level, a number out of range, or a run folder made
            with other settings.
    """
    from omegaconf import OmegaConf

    from weit_rl.agents.behaviour import BehaviourConfig, train_behaviour
    from weit_rl.agents.levels import LevelRecorder, choose
    from weit_rl.envs.entry import env_entry

    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    _check(settings)
    entry, config = env_entry(cfg.env), BehaviourConfig(**{key: settings[key] for key in BEHAVIOUR})
    run_dir = Path(cfg.run_dir or f"runs/collect-{entry.name}")
    # Before anything is written, since it refuses a bad algorithm or hyperparameter.
    recorder = LevelRecorder(entry, config, run_dir, cfg.selection_episodes, cfg.evaluation_episodes)
    _open_run(run_dir, settings)
    train_behaviour(config, entry.make, run_dir / "behaviour")
    steps = choose(recorder.selection_returns())
    for level, episodes in settings["levels"].items():
        if episodes:
            recorder.record(level, steps[level], episodes)
    return {level: recorder.report(level) for level, episodes in settings["levels"].items() if episodes}


def _check(settings: dict[str, Any]) -> None:
    from weit_rl.agents.levels import LEVELS
    from weit_rl.registry import unknown

    for key in COUNTS:
        if settings[key] < 1:
            raise UserError(f"{key}={settings[key]}: must be 1 or more")
    for level, episodes in settings["levels"].items():
        if level not in LEVELS:
            raise unknown("level", str(level), list(LEVELS))
        if episodes < 0:
            raise UserError(f"levels.{level}={episodes}: must be 0 or more episodes")


def _open_run(run_dir: Path, settings: dict[str, Any]) -> None:
    """Make the run folder, or go on in one that was made with the same settings."""
    path = run_dir / "collect.json"
    settings = {key: value for key, value in settings.items() if key != "run_dir"}
    before = json.loads(path.read_text()) if path.exists() else settings
    other = [key for key in settings if settings[key] != before.get(key)]
    if other:
        raise UserError(f"run_dir={run_dir}: was made with another {', '.join(other)}; choose another run_dir")
    run_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(settings, indent=2).encode())


if __name__ == "__main__":
    command("collect", main)
