"""Draw a recorded data set: its episodes played again from their reset seeds, seen in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weit_rl.agents.metadata import describe
from weit_rl.agents.pictures import Replay, bytes_of
from weit_rl.agents.recording import Episode, summary, write_minari
from weit_rl.atomic import check_space
from weit_rl.data.formats import read_episodes
from weit_rl.data.readers import data_name, find_data, load_trajectories
from weit_rl.envs.entry import EnvEntry, env_entry
from weit_rl.envs.pixels import with_pixels
from weit_rl.errors import UserError
from weit_rl.workflows.record import check_place, check_ranges


def render_data(cfg: Any) -> dict[str, Any]:
    """Write the first ``cfg.episodes`` episodes of ``cfg.data`` in pictures into ``cfg.run_dir``.

    Returns:
        ``path`` of the new set, ``returns`` of its episodes, ``frames``.

    Raises:
        UserError: if the set cannot be read, holds no reset seeds, is no set of states of this environment, or its
            episodes go another way than recorded; if a number is out of range, nothing can render or the folder exists.
    """
    check_ranges(cfg)
    entry = env_entry(cfg.env)
    entry = entry if entry.pixels else env_entry(with_pixels(entry.name, True))
    if not isinstance(cfg.data, str):
        raise UserError("data: must be given with mode=render, one set of states, data=expert or data=PATH")
    (episodes, info), name = recorded(cfg.data, entry.states), data_name(cfg.data)
    episodes = episodes[: cfg.episodes]
    folder = Path(cfg.run_dir or f"runs/render-{entry.slug}-{name}").expanduser()
    check_place(folder)
    replay, returns = Replay(entry, f"data {cfg.data}"), summary(episodes)
    algorithm, description = str(info.get("algorithm", "unknown")), f"{name} of {entry.states.name}, drawn"
    metadata = describe(entry, name, description, algorithm, {"recorded": returns})
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_space(folder, bytes_of(entry, episodes))
    write_minari(folder, entry, replay(episodes), metadata)
    print(f"{replay.speed()}; {returns['episodes']} episodes, return {returns['return_mean']:.0f}, in {folder}")
    return {"path": str(folder), "returns": returns, "frames": replay.frames}


def recorded(data: str, entry: EnvEntry) -> tuple[list[Episode], dict[str, Any]]:
    """The episodes of a set of states as they were played, actions in [-1, 1], and its metadata.

    Raises:
        UserError: as :func:`load_trajectories` does, and for a set without reset seeds.
    """
    load_trajectories(data, entry)  # says what is wrong with it
    episodes, info = read_episodes(find_data(data, entry))
    seeds = info.get("reset_seeds") or [None]
    if None in seeds:
        raise UserError(f"data {data}: holds no reset seeds to play it again from; use a set that weit_rl.collect made")
    own = entry.action_box.unit
    rows = zip(seeds, episodes, strict=True)
    return [Episode(seed, e.observations, own(e.actions), e.rewards, False) for seed, e in rows], info
