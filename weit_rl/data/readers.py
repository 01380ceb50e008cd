"""Reading recorded episodes: Minari data sets (shipped, installed or by path) and HDF5 in D4RL's layout."""

from __future__ import annotations

import os
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.data.trajectories import Trajectories
from weit_rl.envs.entry import EnvEntry
from weit_rl.errors import UserError

SHIPPED = Path(__file__).parents[1] / "assets" / "data"
ARRAYS = ("observations", "actions", "rewards", "terminals", "timeouts")
Episode = tuple[np.ndarray, np.ndarray, np.ndarray]  # observations, actions, rewards of equal length


def load_trajectories(data: str | os.PathLike, entry: EnvEntry, sizes: tuple[int, int] | None = None) -> Trajectories:
    """Read recorded episodes and check that they fit the environment.

    Args:
        data: a level that ships with the package (``expert``, ``medium``, ``random``), several of them
            (``medium+expert``), the folder of a Minari data
            set, the id of a Minari data set installed on this machine, or an HDF5 file in D4RL's layout (flat
            ``observations actions rewards terminals timeouts``).
        entry: the environment they are meant for.
        sizes: observation and action size to expect (default: those of the environment, which is made once).

    Returns:
        The episodes, their actions brought from the environment's bounds to [-1, 1]; ``info`` holds the set's
        metadata and ``path``, the folder or file it was read from.

    Raises:
        UserError: if there is no such data, it cannot be read, holds NaN or infinite values, arrays of wrong
            shapes or other sizes than the environment's, or no episode of two steps.
    """
    levels = str(data).split("+")
    if len(levels) > 1 and set(levels) <= set(shipped_levels(entry)):
        return Trajectories.mix([load_trajectories(level, entry, sizes) for level in levels])
    path = find_data(data, entry)
    episodes, info = read_minari(path) if path.is_dir() else read_d4rl(path)
    episodes = [episode for episode in episodes if len(episode[2])]
    if max((len(episode[2]) for episode in episodes), default=0) < 2:
        raise UserError(f"data {path}: no complete window, every episode is shorter than 2 steps; record longer ones")
    _check_environment(episodes, info, entry, path, sizes or entry.sizes)
    trajectories = Trajectories.join(episodes, info | {"path": str(path)})
    _check_values(trajectories, path)
    trajectories.actions = entry.action_box.unit(trajectories.actions)
    return trajectories


def shipped_levels(entry: EnvEntry) -> list[str]:
    """The levels that ship with the package for this environment."""
    return sorted(folder.parent.name for folder in (SHIPPED / entry.name).glob("*/data"))


def find_data(data: str | os.PathLike, entry: EnvEntry) -> Path:
    """The file or Minari folder that ``data`` means; raises UserError when there is none."""
    levels = shipped_levels(entry)
    installed = Path(os.environ.get("MINARI_DATASETS_PATH", Path.home() / ".minari" / "datasets"))
    shipped = [SHIPPED / entry.name / data] if str(data) in levels else []
    for path in (*shipped, Path(os.path.expanduser(data)), installed / data):
        if os.path.exists(path) and str(data):  # Path.exists raises on a name that is too long
            folder = path.parent if path.name == "main_data.hdf5" else path
            return folder / "data" if (folder / "data").is_dir() else folder
    raise UserError(
        f"data={str(data)!r}: neither a file, nor a folder, nor an installed Minari data set; give one of these or "
        f"a level that ships for {entry.name} ({', '.join(levels) or 'none does'})"
    )


def read_minari(folder: Path) -> tuple[list[Episode], dict[str, Any]]:
    """Read every episode and the metadata of a Minari data set, given its ``data`` folder."""
    try:
        import minari

        dataset = minari.MinariDataset(folder)
        recorded = list(dataset.iterate_episodes())
        info = {k: sorted(v) if isinstance(v, set) else v for k, v in dataset.storage.metadata.items()}
    except Exception as error:  # whatever is wrong with the folder: no metadata, truncated, arrays missing
        raise _unreadable(folder, "Minari data set", error) from error
    del info["observation_space"], info["action_space"]
    info.setdefault("env_id", dataset.env_spec.id if dataset.env_spec else None)
    return [_minari_episode(episode, folder) for episode in recorded], info


def _minari_episode(episode: Any, folder: Path) -> Episode:
    arrays = [np.asarray(a) for a in (episode.observations, episode.actions, episode.rewards)]
    steps = len(episode.actions)
    # Minari keeps the observation behind the last action too.
    if len(arrays[0]) == steps + 1:
        arrays[0] = arrays[0][:steps]
    _check_shapes(dict(zip(ARRAYS, arrays, strict=False)), f"{folder}, episode {episode.id}")
    return arrays[0], arrays[1], arrays[2]


def read_d4rl(path: Path) -> tuple[list[Episode], dict[str, Any]]:
    """Read the episodes and the attributes of an HDF5 file in D4RL's layout.

    A last episode that neither terminates nor times out was cut off; it is kept if it is longer than one step.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            missing = [name for name in ARRAYS if name not in file]
            arrays = {name: file[name][()] for name in ARRAYS if not missing}
            info = {k: v.item() if isinstance(v, np.generic) else v for k, v in file.attrs.items()}
    except Exception as error:
        raise _unreadable(path, "HDF5 file", error) from error
    if missing:
        raise UserError(f"data {path}: no array {', '.join(missing)}; D4RL's layout has {', '.join(ARRAYS)}")
    _check_shapes(arrays, str(path))
    return _cut(arrays), info


def _cut(arrays: dict[str, np.ndarray]) -> list[Episode]:
    steps = len(arrays["rewards"])
    ends = np.flatnonzero(arrays["terminals"].astype(bool) | arrays["timeouts"].astype(bool)) + 1
    bounds = [0, *ends.tolist()]
    if steps - bounds[-1] > 1:
        bounds.append(steps)
    spans = [slice(begin, end) for begin, end in pairwise(bounds)]
    return [(arrays["observations"][s], arrays["actions"][s], arrays["rewards"][s]) for s in spans]


def _check_shapes(arrays: dict[str, np.ndarray], where: str) -> None:
    for name, array in arrays.items():
        dimensions = 2 if name in ("observations", "actions") else 1
        if array.ndim != dimensions or array.dtype.kind not in "fiub":
            wanted = "(steps, size)" if dimensions == 2 else "(steps,)"
            raise UserError(f"data {where}: {name} is {array.dtype} {array.shape}, must be numbers of shape {wanted}")
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise UserError(f"data {where}: lengths differ ({lengths}); record the set again")


def _check_values(trajectories: Trajectories, path: Path) -> None:
    for name in ("observations", "actions", "rewards"):
        array = getattr(trajectories, name)
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        if len(bad):
            raise UserError(f"data {path}: {name} hold NaN or infinite values (first at step {bad[0]}); remove them")


def _check_environment(
    episodes: list[Episode], info: dict[str, Any], entry: EnvEntry, path: Path, sizes: tuple[int, int]
) -> None:
    for index, name in enumerate(("observation", "action")):
        for size in {episode[index].shape[1] for episode in episodes} - {sizes[index]}:
            wanted = f"{entry.name} has {sizes[index]}; use data of {entry.name}"
            raise UserError(f"data {path}: {name} size {size}, but {wanted}")
    made_in = str(info.get("env_id") or entry.gym_id)
    if made_in.rsplit("-v", 1)[0].lower() != entry.gym_id.rsplit("-v", 1)[0].lower():
        warnings.warn(f"data {path} was recorded in {made_in}, not in {entry.gym_id}", stacklevel=3)


def _unreadable(path: Path, kind: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(f"data {path}: not a complete {kind} ({reason}); record or download it again")
