"""Minari data sets: a folder whose ``data`` holds ``metadata.json`` and HDF5 or Arrow files."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.data.episode import Episode
from weit_rl.data.episode_cutting import cut_episodes
from weit_rl.data.formats.registry import FORMATS, EpisodeFormat, before_each, check_shapes, column, flat, unreadable
from weit_rl.data.hdf5 import check_hdf5

WHAT = "Minari data set"
FILES = ("main_data.hdf5", "metadata.json")
ARROW = ("arrow", "parquet")  # Minari's formats that pyarrow reads
STATES = "state"  # key in an episode's infos, in a set of pictures


def accepts(path: Path) -> bool:
    """Return True for a folder that holds one of Minari's files, itself or in ``data``."""
    return any((folder / name).is_file() for folder in (path, path / "data") for name in FILES)


def read(folder: Path) -> tuple[list[Episode], dict[str, Any]]:
    """Read every episode and the metadata of a Minari data set, given its folder or the ``data`` in it.

    An episode that continues after a marked end is cut there.
    """
    inner = folder / "data"
    inner = inner if inner.is_dir() else folder
    try:
        import minari

        stored = _checked(inner)
        dataset = minari.MinariDataset(inner)
        numbers = [int(number) for number in dataset.episode_indices]
        recorded = [next(iter(dataset.iterate_episodes([number]))) for number in numbers]
        about = list(dataset.storage.get_episode_metadata(numbers))
        cut_up = [_episodes(*each, folder) for each in zip(recorded, about, strict=True)]
    except UserError:
        raise
    except Exception as error:  # any damage of the folder: no metadata, truncated files, missing arrays
        raise unreadable(folder, WHAT, error) from error
    stored.setdefault("env_id", dataset.env_spec.id if dataset.env_spec else None)
    stored["reset_seeds"] = [
        seed for one, (pieces, _) in zip(about, cut_up, strict=True) for seed in _seeds(one, pieces)
    ]
    stored["notes"] = [note for _, notes in cut_up for note in notes]
    return [piece for pieces, _ in cut_up for piece in pieces], stored


def _checked(inner: Path) -> dict[str, Any]:
    """Read the metadata, and refuse a set that would run code or declares more than it can hold."""
    stored = json.loads((inner / FILES[1]).read_text(encoding="utf-8"))
    form = stored.get("data_format")
    if missing := [name for name in ("observation_space", "action_space") if not isinstance(stored.get(name), str)]:
        # Without spaces, Minari would make the environment of env_spec and import whatever module that names.
        raise ValueError(f"{FILES[1]} holds no {' and no '.join(missing)}")
    if form in ARROW and importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            f"data {inner}: is stored in Minari's {form} format, which pyarrow reads; install it: "
            "pip install 'weit_rl[arrow]'"
        )
    if form not in ARROW:
        import h5py

        with h5py.File(inner / FILES[0]) as file:
            check_hdf5(file, inner)
    return stored


def _episodes(episode: Any, about: dict[str, Any], folder: Path) -> tuple[list[Episode], list[str]]:
    where = f"{folder}, episode {episode.id}"
    actions, rewards = np.asarray(episode.actions), np.asarray(episode.rewards)
    laid = Episode(before_each(flat(episode.observations), actions), actions, rewards)
    check_shapes(laid.by_name, where)
    if len(rewards) < int(about.get("total_steps", 0)):
        raise ValueError(f"episode {episode.id} holds {len(rewards)} of {about['total_steps']} steps")
    ends = {name: np.asarray(getattr(episode, name)) for name in ("terminations", "truncations")}
    pieces, _ = cut_episodes(laid, ends, where)
    if len(pieces[0].rewards) < len(rewards):
        return pieces, [
            f"episode {episode.id} continues after its end at step {len(pieces[0].rewards)}, and is cut there"
        ]
    states = (episode.infos or {}).get(STATES)
    if not isinstance(states, np.ndarray) or states.dtype.kind not in "fiub":
        return [laid._replace(rewards=column(rewards))], []
    return [laid._replace(rewards=column(rewards), states=before_each(states, actions))], []


def _seeds(about: dict[str, Any], pieces: list[Episode]) -> list[Any]:
    """Return the reset seed of each piece: only the first piece begins with a reset."""
    return [about.get("seed"), *[None] * (len(pieces) - 1)]


FORMATS.add("minari", EpisodeFormat(WHAT, accepts, read, native=True))
