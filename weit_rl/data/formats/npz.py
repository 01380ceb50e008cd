"""Folders of ``.npz`` files, one episode each, as ``numpy.savez`` writes them; a single such file will do."""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from weit_rl.data.formats import FORMATS, Episode, Format, before_each, check_shapes, unreadable
from weit_rl.errors import UserError
from weit_rl.limits import most_bytes

NAMES = {  # ours, then what others call the same
    "observations": ("observations", "observation", "obs", "states", "state"),
    "actions": ("actions", "action", "acts"),
    "rewards": ("rewards", "reward", "rews"),
}
MARKS = ("discount", "is_first")  # arrays beside these are laid out as dm_env, ExORL and Dreamer do


def accepts(path: Path) -> bool:
    """A ``.npz`` file, or a folder that holds one."""
    return path.suffix == ".npz" or (path.is_dir() and any(path.glob("*.npz")))


def read(path: Path) -> tuple[list[Episode], dict[str, Any]]:
    """The episodes in the natural order of the files' names, so that ``ep2.npz`` comes before ``ep10.npz``.

    Arrays are ``observations actions rewards``, or another name in ``NAMES``; all others are ignored, but for a text
    ``env_id``. Observations may have one row more, the one behind the last action. Beside a ``discount`` or
    ``is_first`` of the same length, and with zeros as its first action and reward, an episode is one whose rows hold
    the action that led to their observation: those are shifted.
    """
    files = sorted(path.glob("*.npz"), key=_natural) if path.is_dir() else [path]
    loaded = [_arrays(file) for file in files]
    made_in = {arrays["env_id"] for arrays in loaded if "env_id" in arrays}
    info = {"env_id": ", ".join(sorted(made_in))} if made_in else {}
    return [_episode(arrays, file) for arrays, file in zip(loaded, files, strict=True)], info


def _natural(path: Path) -> list[Any]:
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", path.name))]


def _arrays(path: Path) -> dict[str, Any]:
    """By name, the arrays that are wanted, and the environment as text."""
    wanted = {*(name for names in NAMES.values() for name in names), *MARKS, "env_id"}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            members = {name: entry for name, entry in members.items() if name in wanted}
            if sum(entry.file_size for entry in members.values()) > most_bytes(path):
                raise ValueError("it says that it holds more than such a file can")
            arrays: dict[str, Any] = {name: _array(archive, entry) for name, entry in members.items()}
        # here, since numpy makes arrays of texts that no text can be
        return arrays | ({"env_id": str(arrays["env_id"].astype(str))} if "env_id" in arrays else {})
    except Exception as error:  # no zip, cut short, damaged, objects
        raise unreadable(path, ".npz file", error) from error


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """A member; its header must fit the size that the archive says it has, since memory is taken by the header."""
    with archive.open(entry) as file:
        major, _ = npy.read_magic(file)
        shape, _, dtype = (npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0)(file)
    if dtype.hasobject:
        raise ValueError("pickled objects are not loaded, only arrays of numbers")
    if dtype.itemsize * math.prod(shape) > entry.file_size:
        raise ValueError(f"{entry.filename} says that it holds more than it does")
    with archive.open(entry) as file:
        return npy.read_array(file, allow_pickle=False)


def _episode(arrays: dict[str, np.ndarray], path: Path) -> Episode:
    found = {ours: next((name for name in names if name in arrays), None) for ours, names in NAMES.items()}
    if missing := [ours for ours, name in found.items() if name is None]:
        names = "; ".join(f"{ours} may be called {', '.join(NAMES[ours][1:])}" for ours in missing)
        raise UserError(f"data {path}: no array {', '.join(missing)} ({names})")
    observations, actions, rewards = (arrays[str(name)] for name in found.values())
    if rewards.ndim == 2 and rewards.shape[1] == 1:
        rewards = rewards[:, 0]
    marks = [arrays[mark] for mark in MARKS if mark in arrays]
    if any(_lags((observations, actions, rewards), mark) for mark in marks):
        actions, rewards = actions[1:], rewards[1:]
    observations = before_each(observations, actions)
    check_shapes({"observations": observations, "actions": actions, "rewards": rewards}, str(path))
    return Episode(observations, actions, rewards)


def _lags(episode: tuple[np.ndarray, ...], mark: np.ndarray) -> bool:
    """Whether rows hold the action before their observation; the first one's action and reward are placeholders."""
    alike = {array.shape[:1] for array in episode} == {mark.shape[:1]} and mark.ndim > 0 and len(mark) > 0
    numbers = all(array.dtype.kind in "fiub" for array in episode)
    return alike and numbers and not any(array[0].any() for array in episode[1:])


FORMATS.add("npz", Format("folder of .npz episodes", accepts, read))
