"""Reading of recorded episodes in any format, alone or several sets mixed, with checks against the environment."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.data.action_units import RecordedUnits
from weit_rl.data.episode import Episode
from weit_rl.data.episode_files import read_episodes
from weit_rl.data.minari_names import installed
from weit_rl.data.notices import notice
from weit_rl.data.recorded_wrappers import check_recorded, recorded_env
from weit_rl.data.trajectories import Trajectories
from weit_rl.envs.registry import EnvEntry

SHIPPED = Path(__file__).parents[1] / "assets" / "data"
Data = str | os.PathLike | Sequence[str | os.PathLike]


def load_trajectories(data: Data, entry: EnvEntry, weights: Sequence[float] | None = None) -> Trajectories:
    """Read recorded episodes and check that they fit the environment.

    Args:
        data: a level that ships with the package (``expert``, ``medium``, ``random``), several of them
            (``medium+expert``), the folder of a Minari data set, the id of an installed Minari data set, a file or
            folder in another format (``weit_rl/data/formats/``), or a list of these.
        entry: the environment that the data are for.
        weights: shares of the windows to draw from each of several sets; they need not sum to 1 (default: in proportion
            to their numbers of steps).

    Returns:
        The episodes, with actions converted from the environment's bounds to [-1, 1]. ``info`` holds the set's
            metadata, its ``format`` and its ``path``.

    Raises:
        UserError: if there is no such data or it cannot be read; if it holds NaN or infinite values, arrays of wrong
            shapes, other sizes than the environment's, or no episode of two steps; if weights are not positive or their
            number differs from the number of sets.
    """
    parts = data_set_names(data, entry)
    _check_weights(weights, parts)
    sets = [_load(part, entry) for part in parts]
    return sets[0] if len(sets) == 1 else Trajectories.mix(sets, weights)


def data_set_names(data: Data, entry: EnvEntry) -> list[str]:
    """Return the names of the sets that ``data`` names, one or more."""
    shipped, parts = set(shipped_levels(entry)), []
    for part in [data] if isinstance(data, str | os.PathLike) else data:
        levels = str(part).split("+")
        parts += levels if set(levels) <= shipped else [str(part)]
    if not parts:
        raise UserError("data=[]: names no set; give one or more")
    return parts


def data_name(data: Data) -> str:
    """Return the name of the data in tables: levels, and the last parts of paths."""
    return "+".join(Path(part).name for part in ([data] if isinstance(data, str | os.PathLike) else data))


def shipped_levels(entry: EnvEntry) -> list[str]:
    """Return the levels that ship with the package for this environment."""
    return sorted(folder.parent.name for folder in (SHIPPED / entry.name).glob("*/data"))


def find_data(data: str | os.PathLike, entry: EnvEntry) -> Path:
    """Return the file or folder that ``data`` means; raise UserError if there is none."""
    levels = shipped_levels(entry)
    shipped = [SHIPPED / entry.name / data] if str(data) in levels else []
    for path in (*shipped, Path(os.path.expanduser(data)), installed() / data):
        if os.path.exists(path) and str(data):  # Path.exists raises on a name that is too long
            path = path / entry.slug if (path / entry.slug).is_dir() else path  # one of several sets, by environment
            return path.parent if path.name == "main_data.hdf5" else path
    raise UserError(
        f"data={str(data)!r}: neither a file, nor a folder, nor an installed Minari data set; give one of these or "
        f"a level that ships for {entry.name} ({', '.join(levels) or 'none does'})"
        + (f", or record its expert: python -m weit_rl.collect env={entry.name}" if entry.expert else "")
        + (", or draw a set of states: python -m weit_rl.collect mode=render pixels=true" if entry.pixels else "")
    )


def read_set(data: str, entry: EnvEntry) -> tuple[list[Episode], dict[str, Any]]:
    """Read the episodes of one set that fit the environment, as float arrays, and the set's metadata.

    Returns:
        The episodes: flat observations, unless they are pictures, and actions in [-1, 1] of the environment's bounds.
            The metadata.

    Raises:
        UserError: as :func:`load_trajectories`, except for NaN and infinite values.
    """
    path = find_data(data, entry)
    episodes, info = read_episodes(path)
    notes = info.pop("notes", [])
    made = recorded_env(info.get("env_spec"), entry)
    check_recorded(made, entry, path)
    episodes = [_laid_flat(episode, entry) for episode in episodes]
    _check_environment([episode for episode in episodes if len(episode.rewards)], info, entry, path)
    units = RecordedUnits.of(info, made, entry, path)
    for note in (*notes, *_too_long(episodes, entry)):
        notice(path, f": {note}")
    units_info = {"action_space": None if units.actions is None else str(units.actions), "scaled": units.scaled}
    unit = [episode._replace(actions=units.unit(episode.actions, entry, path)) for episode in episodes]
    return unit, info | units_info | {"path": str(path)}


def _laid_flat(episode: Episode, entry: EnvEntry) -> Episode:
    """Flatten observations of any shape to vectors if the environment's observations are flattened too."""
    wanted, seen = entry.raw_spaces[0].shape, episode.observations
    alike = wanted is None or len(wanted) == 1 or seen.shape[1:] == wanted
    if entry.pixels or not alike or math.prod(seen.shape[1:]) != entry.sizes[0]:
        return episode
    return episode._replace(observations=seen.reshape(len(seen), entry.sizes[0]))


def _too_long(episodes: list[Episode], entry: EnvEntry) -> list[str]:
    lengths = [len(episode.rewards) for episode in episodes if len(episode.rewards) > entry.episode_steps]
    if not lengths:
        return []
    those = "its only episode is" if len(episodes) == 1 else f"{len(lengths)} of its {len(episodes)} episodes are"
    limit = f"longer than {entry.name}'s {entry.episode_steps} steps (up to {max(lengths)})"
    return [f"{those} {limit}; if several were joined, mark where they end, with terminals and timeouts"]


def _load(data: str, entry: EnvEntry) -> Trajectories:
    episodes, info = read_set(data, entry)
    path, episodes = Path(info["path"]), [episode for episode in episodes if len(episode.rewards)]
    if max((len(episode.rewards) for episode in episodes), default=0) < 2:
        raise UserError(f"data {path}: no complete window, every episode is shorter than 2 steps; record longer ones")
    trajectories = Trajectories.join(episodes, info, entry.stack)
    if entry.with_state:
        trajectories.states = _states(episodes, entry, path)
    _check_values(trajectories, path)
    return trajectories


def _states(episodes: list[Episode], entry: EnvEntry, path: Path) -> np.ndarray:
    """Return the states that belong to pictures, ``(steps, obs)`` float32."""
    states = [episode.states for episode in episodes if episode.states is not None]
    wanted = [(len(episode.rewards), *entry.states.shapes[0]) for episode in episodes]
    if [array.shape for array in states] != wanted:
        raise UserError(
            f"data {path}: has no states of {entry.states.name} beside its pictures, and this model sees both; draw a "
            "set of states with python -m weit_rl.collect mode=render"
        )
    return np.concatenate(states, dtype=np.float32, casting="same_kind")


def _check_weights(weights: Sequence[float] | None, parts: list[str]) -> None:
    if weights is None:
        return
    shown = f"data_weights={[float(weight) for weight in weights]}"
    if len(weights) != len(parts):
        raise UserError(f"{shown}: data has {len(parts)} ({', '.join(parts)}); give one weight for each")
    if not all(0 < weight < float("inf") for weight in weights):
        raise UserError(f"{shown}: must be more than 0; leave a set that is not wanted out of data")


def _check_values(trajectories: Trajectories, path: Path) -> None:
    for name in ("observations", "actions", "rewards", "states"):
        array = getattr(trajectories, name)
        if array is None or array.dtype == np.uint8:
            continue
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        if len(bad):
            raise UserError(f"data {path}: {name} hold NaN or infinite values (first at step {bad[0]}); remove them")


def _check_environment(episodes: list[Episode], info: dict[str, Any], entry: EnvEntry, path: Path) -> None:
    for index, name in enumerate(("observation", "action")):
        for shape in {(e.observations, e.actions)[index].shape[1:] for e in episodes} - {entry.shapes[index]}:
            have, wanted = ("x".join(map(str, one)) for one in (shape, entry.shapes[index]))
            recorded = f" (it was recorded in {info['env_id']})" if info.get("env_id") else ""
            drawn = ", which collect mode=render makes" if entry.pixels and not index else ""
            raise UserError(
                f"data {path}: {name} size {have}, but {entry.name} has {wanted}{recorded}; "
                f"use data of {entry.name}{drawn}"
            )
    made_in = str(info.get("env_id") or entry.gym_id)
    if made_in.rsplit("-v", 1)[0].lower() != entry.gym_id.rsplit("-v", 1)[0].lower():
        notice(path, f" was recorded in {made_in}, not in {entry.gym_id}")
