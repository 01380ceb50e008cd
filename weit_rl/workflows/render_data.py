"""Render a data set of states: replay its episodes from their reset seeds and record pictures."""

from __future__ import annotations

import warnings
from typing import Any

from weit_rl.agents.metadata import describe
from weit_rl.agents.minari_writing import write_minari
from weit_rl.agents.pictures import Replay, disk_space_of
from weit_rl.agents.recording import PlayedEpisode, episode_statistics
from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.output import print_line
from weit_rl.data.minari_names import check_id
from weit_rl.data.readers import data_name, load_trajectories, read_set
from weit_rl.envs.pixels import with_pixels
from weit_rl.envs.registry import EnvEntry, env_entry
from weit_rl.options.collect_options import CollectOptions
from weit_rl.storage.atomic_write import check_space
from weit_rl.workflows.record_agent import check_place, check_ranges, place_of


def render_data(cfg: CollectOptions) -> dict[str, Any]:
    """Write the first ``cfg.episodes`` episodes of ``cfg.data`` as pictures to ``cfg.run_dir``.

    Returns:
        ``path`` of the new set, ``returns`` of its episodes, ``frames``.

    Raises:
        UserError: if the set cannot be read, has no reset seeds, or is no set of states of this environment; if a
            replayed episode differs from the recorded one; if a number is out of range, nothing can render, or the
            folder exists.
    """
    check_ranges(cfg)
    check_id(cfg.dataset_id)
    entry = env_entry(str(cfg.env))
    entry = entry if entry.pixels else env_entry(with_pixels(entry.name, True))
    if not isinstance(cfg.data, str):
        raise UserError("data: must be given with mode=render, one set of states, data=expert or data=PATH")
    (episodes, info), name = recorded(cfg.data, entry.states), data_name(cfg.data)
    episodes = episodes[: cfg.episodes]
    folder = expand_home(cfg.run_dir or place_of(cfg.dataset_id) or f"runs/render-{entry.slug}-{name}")
    check_place(folder)
    replay, returns = Replay(entry, f"data {cfg.data}"), episode_statistics(episodes)
    algorithm, description = str(info.get("algorithm", "unknown")), f"{name} of {entry.states.name}, drawn"
    metadata = describe(entry, name, description, algorithm, {"recorded": returns}, cfg.dataset_id)
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_space(folder, disk_space_of(entry, episodes))
    write_minari(folder, entry, replay(episodes), metadata)
    print_line(f"{replay.speed()}; {returns['episodes']} episodes, return {returns['return_mean']:.0f}, in {folder}")
    return {"path": str(folder), "returns": returns, "frames": replay.frames}


def recorded(data: str, entry: EnvEntry) -> tuple[list[PlayedEpisode], dict[str, Any]]:
    """Read the episodes of a set of states, with actions in [-1, 1], and its metadata.

    Raises:
        UserError: for every error of :func:`load_trajectories`, and for a set without reset seeds.
    """
    load_trajectories(data, entry)  # raises if anything is wrong with it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # load_trajectories has just given the same warnings
        episodes, info = read_set(data, entry)
    seeds = info.get("reset_seeds") or [None]
    if None in seeds:
        raise UserError(f"data {data}: holds no reset seeds to play it again from; use a set that weit_rl.collect made")
    rows = zip(seeds, episodes, strict=True)
    return [PlayedEpisode(seed, e.observations, e.actions, e.rewards, False) for seed, e in rows], info
