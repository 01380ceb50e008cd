"""Folders of ``.npz`` files written by ``numpy.savez``, one or more episodes each, or a single such file."""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from weit_rl.common.errors import UserError
from weit_rl.data.episode import Episode
from weit_rl.data.episode_cutting import cut_episodes
from weit_rl.data.episode_marks import MARKS
from weit_rl.data.formats.registry import FORMATS, EpisodeFormat, unreadable
from weit_rl.data.recorded_spaces import SPACES, stated_spaces
from weit_rl.storage.read_limits import most_bytes

NAMES = {  # our name of an array, and the names that other projects use
    "observations": ("observations", "observation", "obs", "states", "state"),
    "actions": ("actions", "action", "acts"),
    "rewards": ("rewards", "reward", "rews"),
}
DM_ENV_MARKS = ("discount", "is_first")  # a file with one of these has the layout of dm_env, ExORL and Dreamer


def accepts(path: Path) -> bool:
    """Return True for a ``.npz`` file, or a folder that holds one."""
    return path.suffix == ".npz" or (path.is_dir() and any(path.glob("*.npz")))


def read(path: Path) -> tuple[list[Episode], dict[str, Any]]:
    """Read the episodes in the natural order of the file names: ``ep2.npz`` comes before ``ep10.npz``.

    Arrays are called ``observations``, ``actions``, ``rewards``, or by another name in ``NAMES``. A file with marks
    (:mod:`weit_rl.data.episode_marks`) is cut at them; a file without marks is one episode. Observations may have one
    row more, the one after the last action.

    In dm_env's layout, a row holds the action that led to its observation. Such rows are shifted by one. A file has
    this layout if it has a ``discount`` or ``is_first`` of the same length, and the first action and reward of each
    episode are zero.

    ``env_id`` and the names in :mod:`weit_rl.data.recorded_spaces` go into the metadata; all other arrays are ignored.
    """
    files = sorted(path.glob("*.npz"), key=_natural) if path.is_dir() else [path]
    loaded = [_arrays(file) for file in files]
    pieces = [_episodes(arrays, file) for arrays, file in zip(loaded, files, strict=True)]
    made_in = {arrays["env_id"] for arrays in loaded if "env_id" in arrays}
    info: dict[str, Any] = {"env_id": ", ".join(sorted(made_in))} if made_in else {}
    names = [f"{file.name}: " if path.is_dir() else "" for file in files]
    info["notes"] = [name + note for name, (_, notes) in zip(names, pieces, strict=True) for note in notes]
    return [episode for episodes, _ in pieces for episode in episodes], info | _spaces(loaded, pieces, path)


def _spaces(loaded: list[dict[str, Any]], pieces: list[tuple[list[Episode], list[str]]], path: Path) -> dict[str, Any]:
    """Return the spaces that the files state; all files must state the same."""
    sizes = [episodes[0].actions.shape[1] if episodes else 0 for episodes, _ in pieces]
    stated = [stated_spaces(arrays, size) for arrays, size in zip(loaded, sizes, strict=True)]
    if any(one != stated[0] for one in stated):
        raise UserError(f"data {path}: its files state different spaces; give each file as a data set of its own")
    return stated[0] if stated else {}


def _natural(path: Path) -> list[Any]:
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", path.name))]


def _arrays(path: Path) -> dict[str, Any]:
    """Read the wanted arrays, the environment's id as text, and under ``pickled`` the names that are not read."""
    wanted = {*(name for names in NAMES.values() for name in names), *DM_ENV_MARKS, *MARKS, *SPACES, "env_id"}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            members = {name: entry for name, entry in members.items() if name in wanted}
            if sum(entry.file_size for entry in members.values()) > most_bytes(path):
                raise ValueError("it declares more bytes than such a file can hold")
            pickled = [name for name in SPACES if name in members and _header(archive, members[name])[1].hasobject]
            arrays = {name: _array(archive, entry) for name, entry in members.items() if name not in pickled}
        # inside the try block, since a damaged text array fails only when it becomes a str
        return (
            arrays
            | ({"env_id": str(arrays["env_id"].astype(str))} if "env_id" in arrays else {})
            | {"pickled": pickled}
        )
    except Exception as error:  # no zip, cut short, damaged, or pickled objects
        raise unreadable(path, ".npz file", error) from error


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """Return the shape and the type that a member declares."""
    with archive.open(entry) as file:
        major, _ = npy.read_magic(file)
        shape, _, dtype = (npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0)(file)
    return shape, dtype


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """Read a member, after checking its declared size against the archive's, since numpy allocates by the header."""
    shape, dtype = _header(archive, entry)
    if dtype.hasobject:
        raise ValueError("pickled objects are not loaded, only arrays of numbers")
    if dtype.itemsize * math.prod(shape) > entry.file_size:
        raise ValueError(f"{entry.filename} declares more bytes than it holds")
    with archive.open(entry) as file:
        return npy.read_array(file, allow_pickle=False)


def _episodes(arrays: dict[str, np.ndarray], path: Path) -> tuple[list[Episode], list[str]]:
    """Cut a file's arrays into episodes, and collect notes on them."""
    found = {ours: next((name for name in names if name in arrays), None) for ours, names in NAMES.items()}
    if missing := [ours for ours, name in found.items() if name is None]:
        names = "; ".join(f"{ours} may be called {', '.join(NAMES[ours][1:])}" for ours in missing)
        raise UserError(f"data {path}: no array {', '.join(missing)} ({names})")
    laid = Episode(*(arrays[str(name)] for name in found.values()))
    episodes, notes = cut_episodes(laid, arrays, str(path))
    marked = {len(arrays[mark]) for mark in DM_ENV_MARKS if mark in arrays and arrays[mark].ndim}
    lags = len(laid.actions) == len(laid.observations) in marked and all(map(_lags, episodes))
    notes += [f"its {name} is a pickled object, which is not read" for name in arrays["pickled"]]
    return [_shifted(one) if lags else one for one in episodes], notes


def _lags(episode: Episode) -> bool:
    """Return True if rows may hold the action before their observation: the first action and reward are zero."""
    return len(episode.rewards) > 0 and not episode.actions[0].any() and not episode.rewards[0].any()


def _shifted(episode: Episode) -> Episode:
    return Episode(episode.observations[:-1], episode.actions[1:], episode.rewards[1:])


FORMATS.add("npz", EpisodeFormat("folder of .npz episodes", accepts, read))
