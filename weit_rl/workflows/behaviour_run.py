"""Make behaviour data: train a policy, keep snapshots, record random, medium and expert episodes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weit_rl.agents.behaviour import BehaviourConfig, train_behaviour
from weit_rl.agents.levels import LEVEL_SEEDS, LEVELS, LevelRecorder, choose
from weit_rl.common.errors import UserError, interrupted_by
from weit_rl.common.home import expand_home
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.seeds import MOST_SEED
from weit_rl.data.minari_names import check_id
from weit_rl.envs.registry import env_entry
from weit_rl.options.collect_options import CollectOptions
from weit_rl.options.option_table import plain_config
from weit_rl.storage.atomic_write import cannot_write_error, check_space, write_atomically
from weit_rl.storage.folder_lock import holds_only_leftovers, lock_folder
from weit_rl.storage.json_file import read_json

if TYPE_CHECKING:
    from filelock import BaseFileLock

BEHAVIOUR = ("algorithm", "steps", "n_envs", "seed", "snapshot_every", "hyperparameters")
MEASURED = ("levels", "selection_episodes", "evaluation_episodes")
SETTINGS = ("env", *BEHAVIOUR, *MEASURED, "dataset_id")  # options that a run folder keeps and later runs must repeat
COUNTS = ("steps", "n_envs", "snapshot_every", "selection_episodes", "evaluation_episodes")
STATE = "collect.json"
OFF_POLICY = {"gradient_steps": 4, "learning_rate": 1e-3, "gamma": 0.98, "tau": 0.01, "learning_starts": 10_000}
DEFAULTS = {  # hyperparameters if none are given
    "SAC": OFF_POLICY,
    "TQC": OFF_POLICY,
    "PPO": {"n_steps": 512, "batch_size": 128},
}


def make_behaviour_data(cfg: CollectOptions) -> dict[str, Any]:
    """Train a policy, choose a snapshot for every level, record its episodes and measure it.

    Writes ``behaviour/`` (snapshots), ``selection.json`` and ``data/<level>/`` (Minari data sets) into ``run_dir``.
    Existing files stay: a stopped run resumes, and a finished level is not recorded again.

    Args:
        cfg: the options of ``weit_rl.collect``.

    Returns:
        For each level: the ``path``, the environment ``steps`` that trained its policy, the ``returns`` of the held-out
        evaluation and of the recorded episodes, and the ``score``.

    Raises:
        UserError: for an unknown environment, algorithm or level; a hyperparameter that the algorithm refuses; a number
            out of range; a run folder of something else or with other settings; a full disk; damaged files; or if
            pictures are wanted and nothing can render them.
    """
    options = plain_config(cfg)
    settings = {key: options[key] for key in SETTINGS} | {"algorithm": cfg.algorithm or BehaviourConfig.algorithm}
    settings["hyperparameters"] = settings["hyperparameters"] or DEFAULTS.get(settings["algorithm"], {})
    _check(settings)
    check_id(cfg.dataset_id)
    entry, config = env_entry(str(cfg.env)), BehaviourConfig(**{key: settings[key] for key in BEHAVIOUR})
    run_dir = expand_home(cfg.run_dir or f"runs/collect-{entry.slug}")
    _check_folder(run_dir, settings)
    entry.check_renderer()
    entry.check_step()
    # Before anything is written: this raises for a bad algorithm or hyperparameter.
    counts = (cfg.selection_episodes, cfg.evaluation_episodes)
    recorder = LevelRecorder(entry, config, run_dir, *counts, cfg.dataset_id)
    _check_disk(run_dir, config.steps, getattr(recorder.agent, "buffer_size", 0))
    lock = _open(run_dir, settings)
    try:
        train_behaviour(config, entry.states.make, run_dir / "behaviour", entry.states.name)
        steps = choose(recorder.selection_returns())
        levels = {level: episodes for level, episodes in settings["levels"].items() if episodes}
        for level, episodes in levels.items():
            recorder.record(level, steps[level], episodes)
        return {level: recorder.report(level) for level in levels}
    except (KeyboardInterrupt, SystemExit) as stop:
        again = shlex.quote(f"run_dir={run_dir}")
        raise interrupted_by(stop, f"stopped; the same command goes on from its last snapshot ({again})") from None
    finally:
        lock.release()


def _check(settings: dict[str, Any]) -> None:
    if not 0 <= settings["seed"] <= MOST_SEED:
        raise UserError(f"seed={settings['seed']}: must be 0 to {MOST_SEED}")
    for key in COUNTS:
        if settings[key] < 1:
            raise UserError(f"{key}={settings[key]}: must be 1 or more")
    for level, episodes in settings["levels"].items():
        if level not in LEVELS:
            raise unknown_name_error("level", str(level), list(LEVELS))
        if not 0 <= episodes <= LEVEL_SEEDS:
            raise UserError(f"levels.{level}={episodes}: must be 0 to {LEVEL_SEEDS} episodes")
    if not any(settings["levels"].values()):
        raise UserError("levels: all are 0, so nothing would be recorded; give a level some episodes, levels.expert=50")


def _check_folder(run_dir: Path, settings: dict[str, Any]) -> None:
    """Raise UserError unless the folder is new, empty, or holds a run with the same settings."""
    try:
        if run_dir.exists() and not run_dir.is_dir():
            raise UserError(f"run_dir={run_dir}: is a file; choose another run_dir")
        if not run_dir.exists() or holds_only_leftovers(run_dir):
            return
        if not (run_dir / STATE).exists():
            raise UserError(f"run_dir={run_dir}: holds other files and no {STATE}; choose another run_dir")
    except OSError as error:
        raise cannot_write_error(run_dir, error) from error
    before = read_json(run_dir / STATE)
    other = [key for key in settings if settings[key] != before.get(key)]
    if other:
        raise UserError(f"run_dir={run_dir}: was made with another {', '.join(other)}; choose another run_dir")


def _check_disk(run_dir: Path, steps: int, buffer_size: int) -> None:
    """Check the disk space: two training states hold the replay buffer, each with less than 1 kB per step."""
    check_space(run_dir, 2000 * min(steps, buffer_size) + 50_000_000)


def _open(run_dir: Path, settings: dict[str, Any]) -> BaseFileLock:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write_error(run_dir, error) from error
    lock = lock_folder(run_dir)
    if not (run_dir / STATE).exists():
        write_atomically(run_dir / STATE, json.dumps(settings, indent=2).encode())
    return lock
