"""Record episodes of a saved Stable-Baselines3 agent, which acts on states, as a Minari data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.agents.metadata import describe
from weit_rl.agents.pictures import write_episodes
from weit_rl.agents.recording import PlayedEpisode, check_played, describe_counts, episode_statistics, play
from weit_rl.agents.sb3_agent import actor, load_agent, normaliser
from weit_rl.agents.sb3_zip import algorithm_of, check_sizes, read_settings, zip_at
from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.output import print_line
from weit_rl.common.seeds import MOST_SEED, RECORDED
from weit_rl.data.minari_names import check_id, installed
from weit_rl.envs.registry import EnvEntry, env_entry
from weit_rl.options.collect_options import CollectOptions
from weit_rl.storage.atomic_write import cannot_write_error

RANGES = {"seed": (0, MOST_SEED), "episodes": (1, RECORDED.apart)}


def record_agent(cfg: CollectOptions) -> dict[str, Any]:
    """Roll out ``cfg.episodes`` episodes of an agent and write them to ``cfg.run_dir``; ``data=`` reads that folder.

    Returns:
        ``path`` of the data set, ``algorithm``, the ``returns`` (mean, standard deviation, min, median, max) and the
        ``score``.

    Raises:
        UserError: if pickles are not allowed; if the agent is missing, damaged, or of another algorithm or
            environment; if a number is out of range; or if the folder exists or cannot be written.
    """
    entry = env_entry(str(cfg.env))
    check_ranges(cfg)
    check_id(cfg.dataset_id)
    path, algorithm = _checked_agent(cfg, entry.states)
    folder = expand_home(cfg.run_dir or place_of(cfg.dataset_id) or f"runs/record-{entry.slug}-{path.stem}")
    check_place(folder)
    entry.check_renderer()
    entry.check_step()
    agent = load_agent(path, algorithm, entry.states)
    act = actor(agent, cfg.deterministic, normaliser(cfg.vec_normalize, entry.states))
    first = RECORDED.of(cfg.seed)
    episodes = play(act, entry.states, range(first, first + cfg.episodes))
    check_played(entry.states, episodes, cfg.episodes)
    returns = _returns(episodes, cfg.episodes)
    write(folder, entry, episodes, _metadata(cfg, entry, path, algorithm, returns))
    print_line(f"{algorithm} agent, {describe_counts(returns)}: {_text(returns)}, in {folder}")
    score = entry.score(returns["return_mean"])
    return {"path": str(folder), "algorithm": algorithm, "returns": returns, "score": score}


def check_ranges(cfg: CollectOptions) -> None:
    """Raise UserError for a number out of range."""
    for name, (least, most) in RANGES.items():
        if not least <= cfg[name] <= most:
            raise UserError(f"{name}={cfg[name]}: must be {least} to {most}")


def _checked_agent(cfg: CollectOptions, entry: EnvEntry) -> tuple[Path, str]:
    """Return the agent's path and algorithm, after all checks that are possible without loading it."""
    if cfg.agent is None:
        raise UserError("agent: must be given with mode=record, agent=PATH.zip, what a Stable-Baselines3 agent saved")
    path = zip_at(expand_home(cfg.agent))
    settings = read_settings(path)
    algorithm = algorithm_of(settings, path, cfg.algorithm)
    check_sizes(settings, path, entry)
    if not cfg.allow_pickle:
        raise UserError(
            f"agent={path}: the zip holds pickles, which can run any code when they are loaded; if you trust where it "
            "is from, add allow_pickle=true; if not, ask its owner for the data set that this command writes, which "
            "holds numbers alone"
        )
    return path, algorithm


def place_of(dataset_id: str | None) -> Path | None:
    """Return the folder where Minari finds a set of that name; None without a name."""
    return installed() / dataset_id if dataset_id else None


def check_place(folder: Path) -> None:
    """Raise UserError for a folder that cannot be made, before any episode is rolled out."""
    if folder.exists():
        raise UserError(f"run_dir={folder}: exists and is not overwritten; remove it or choose another run_dir")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"run_dir={folder}: cannot write into {above}; choose another run_dir")


def _returns(episodes: list[PlayedEpisode], played: int) -> dict[str, float]:
    returns = [episode.rewards.sum(dtype=np.float64) for episode in episodes]
    more = {"return_min": min(returns), "return_median": np.median(returns), "return_max": max(returns)}
    return episode_statistics(episodes, played) | {name: float(value) for name, value in more.items()}


def _text(returns: dict[str, float]) -> str:
    shown = {name.removeprefix("return_"): f"{value:.1f}" for name, value in returns.items()}
    return "return {mean} +- {std} (min {min}, median {median}, max {max})".format(**shown)


def _metadata(
    cfg: CollectOptions, entry: EnvEntry, path: Path, algorithm: str, returns: dict[str, float]
) -> dict[str, Any]:
    acting = "the policy's mean action" if cfg.deterministic else "actions sampled from the policy"
    description = f"{algorithm} agent {path.name} in {entry.gym_id}; {acting}"
    first = RECORDED.of(cfg.seed)
    return describe(entry, path.stem, description, algorithm, {"recorded": returns}, cfg.dataset_id) | {
        "agent": path.name,
        "vec_normalize": cfg.vec_normalize is not None,
        "deterministic": cfg.deterministic,
        "seeds": {"recorded": [first, first + cfg.episodes - 1]},
    }


def write(folder: Path, entry: EnvEntry, episodes: list[PlayedEpisode], metadata: dict[str, Any]) -> None:
    """Write a data set; UserError if the disk is full or the folder not writable."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_episodes(folder, entry, episodes, metadata)
    except OSError as error:
        raise cannot_write_error(folder, error) from error
