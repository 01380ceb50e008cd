"""Folders of ``.npz`` files, one or more episodes each, as ``numpy.savez`` writes them; a single file will do."""

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
from weit_rl.data.episode_cutting import cut
from weit_rl.data.episode_marks import MARKS
from weit_rl.data.formats.registry import FORMATS, Format, unreadable
from weit_rl.data.recorded_spaces import SPACES, spaces_said
from weit_rl.storage.read_limits import most_bytes

NAMES = {  # ours, then what others call the same
    "observations": ("observations", "observation", "obs", "states", "state"),
    "actions": ("actions", "action", "acts"),
    "rewards": ("rewards", "reward", "rews"),
}
LAID_OUT = ("discount", "is_first")  # arrays beside these are laid out as dm_env, ExORL and Dreamer do


def accepts(path: Path) -> bool:
    """A ``.npz`` file, or a folder that holds one."""
    return path.suffix == ".npz" or (path.is_dir() and any(path.glob("*.npz")))


def read(path: Path) -> tuple[list[Episode], dict[str, Any]]:
    """The episodes in the natural order of the files' names, so that ``ep2.npz`` comes before ``ep10.npz``.

    Arrays are ``observations actions rewards``, or another name in ``NAMES``. A file with marks
    (:mod:`weit_rl.data.episode_marks`) is cut at them, one without is one episode. Observations may have one row more,
    the one behind the last action. Beside a ``discount`` or ``is_first`` of the same length, and with zeros as the
    first action and reward of each episode, rows hold the action that led to their observation: those are shifted.
    What an ``env_id`` and the names of :mod:`weit_rl.data.recorded_spaces` say is kept, all else ignored.
    """
    files = sorted(path.glob("*.npz"), key=_natural) if path.is_dir() else [path]
    loaded = [_arrays(file) for file in files]
    cut = [_episodes(arrays, file) for arrays, file in zip(loaded, files, strict=True)]
    made_in = {arrays["env_id"] for arrays in loaded if "env_id" in arrays}
    info: dict[str, Any] = {"env_id": ", ".join(sorted(made_in))} if made_in else {}
    names = [f"{file.name}: " if path.is_dir() else "" for file in files]
    info["notes"] = [name + note for name, (_, notes) in zip(names, cut, strict=True) for note in notes]
    return [episode for episodes, _ in cut for episode in episodes], info | _spaces(loaded, cut, path)


def _spaces(loaded: list[dict[str, Any]], cut: list[tuple[list[Episode], list[str]]], path: Path) -> dict[str, Any]:
    """What the files say of spaces, all alike."""
    sizes = [episodes[0].actions.shape[1] if episodes else 0 for episodes, _ in cut]
    said = [spaces_said(arrays, size) for arrays, size in zip(loaded, sizes, strict=True)]
    if any(one != said[0] for one in said):
        raise UserError(f"data {path}: its files say that they were recorded in different spaces; give each as a set")
    return said[0] if said else {}


def _natural(path: Path) -> list[Any]:
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", path.name))]


def _arrays(path: Path) -> dict[str, Any]:
    """By name, the arrays that are wanted, the environment as text, and ``pickled``, what is not read."""
    wanted = {*(name for names in NAMES.values() for name in names), *LAID_OUT, *MARKS, *SPACES, "env_id"}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            members = {name: entry for name, entry in members.items() if name in wanted}
            if sum(entry.file_size for entry in members.values()) > most_bytes(path):
                raise ValueError("it says that it holds more than such a file can")
            pickled = [name for name in SPACES if name in members and _header(archive, members[name])[1].hasobject]
            arrays = {name: _array(archive, entry) for name, entry in members.items() if name not in pickled}
        # here, since numpy makes arrays of texts that no text can be
        return (
            arrays
            | ({"env_id": str(arrays["env_id"].astype(str))} if "env_id" in arrays else {})
            | {"pickled": pickled}
        )
    except Exception as error:  # no zip, cut short, damaged, objects
        raise unreadable(path, ".npz file", error) from error


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type that a member says it has."""
    with archive.open(entry) as file:
        major, _ = npy.read_magic(file)
        shape, _, dtype = (npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0)(file)
    return shape, dtype


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """A member; its header must fit the size that the archive says it has, since memory is taken by the header."""
    shape, dtype = _header(archive, entry)
    if dtype.hasobject:
        raise ValueError("pickled objects are not loaded, only arrays of numbers")
    if dtype.itemsize * math.prod(shape) > entry.file_size:
        raise ValueError(f"{entry.filename} says that it holds more than it does")
    with archive.open(entry) as file:
        return npy.read_array(file, allow_pickle=False)


def _episodes(arrays: dict[str, np.ndarray], path: Path) -> tuple[list[Episode], list[str]]:
    """And what to say of them."""
    found = {ours: next((name for name in names if name in arrays), None) for ours, names in NAMES.items()}
    if missing := [ours for ours, name in found.items() if name is None]:
        names = "; ".join(f"{ours} may be called {', '.join(NAMES[ours][1:])}" for ours in missing)
        raise UserError(f"data {path}: no array {', '.join(missing)} ({names})")
    laid = Episode(*(arrays[str(name)] for name in found.values()))
    episodes, notes = cut(laid, arrays, str(path))
    marked = {len(arrays[mark]) for mark in LAID_OUT if mark in arrays and arrays[mark].ndim}
    lags = len(laid.actions) == len(laid.observations) in marked and all(map(_lags, episodes))
    notes += [f"its {name} is a pickled object, which is not read" for name in arrays["pickled"]]
    return [_shifted(one) if lags else one for one in episodes], notes


def _lags(episode: Episode) -> bool:
    """Whether rows may hold the action before their observation: the first one's action and reward are zeros."""
    return len(episode.rewards) > 0 and not episode.actions[0].any() and not episode.rewards[0].any()


def _shifted(episode: Episode) -> Episode:
    return Episode(episode.observations[:-1], episode.actions[1:], episode.rewards[1:])


FORMATS.add("npz", Format("folder of .npz episodes", accepts, read))
