"""Minari data sets: a folder whose ``data`` holds ``main_data.hdf5`` and ``metadata.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.data.formats import FORMATS, Episode, Format, before_each, check_shapes, unreadable
from weit_rl.data.hdf5 import check_hdf5

WHAT = "Minari data set"
FILES = ("main_data.hdf5", "metadata.json")
STATES = "state"  # among an episode's infos, of a set of pictures


def accepts(path: Path) -> bool:
    """A folder that holds one of Minari's files, or whose ``data`` does."""
    return any((folder / name).is_file() for folder in (path, path / "data") for name in FILES)


def read(folder: Path) -> tuple[list[Episode], dict[str, Any]]:
    """Every episode and the metadata of a Minari data set, given its folder or the ``data`` in it."""
    inner = folder / "data"
    try:
        import h5py
        import minari

        inner = inner if inner.is_dir() else folder
        with h5py.File(inner / FILES[0]) as file:
            check_hdf5(file, inner)
        dataset = minari.MinariDataset(inner)
        recorded = list(dataset.iterate_episodes())
        seeds = [one.get("seed") for one in dataset.storage.get_episode_metadata(dataset.episode_indices)]
        info = {k: sorted(v) if isinstance(v, set) else v for k, v in dataset.storage.metadata.items()}
    except Exception as error:  # whatever is wrong with the folder: no metadata, truncated, arrays missing
        raise unreadable(folder, WHAT, error) from error
    del info["observation_space"], info["action_space"]
    info.setdefault("env_id", dataset.env_spec.id if dataset.env_spec else None)
    info["reset_seeds"] = seeds
    return [_episode(episode, folder) for episode in recorded], info


def _episode(episode: Any, folder: Path) -> Episode:
    arrays = {name: np.asarray(getattr(episode, name)) for name in ("observations", "actions", "rewards")}
    arrays["observations"] = before_each(arrays["observations"], arrays["actions"])
    check_shapes(arrays, f"{folder}, episode {episode.id}")
    states = (episode.infos or {}).get(STATES)
    if not isinstance(states, np.ndarray) or states.dtype.kind not in "fiub":
        return Episode(**arrays)
    return Episode(**arrays, states=before_each(states, arrays["actions"]))


FORMATS.add("minari", Format(WHAT, accepts, read, native=True))
