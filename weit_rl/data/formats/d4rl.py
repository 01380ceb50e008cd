"""D4RL's layout: an HDF5 file with flat arrays, cut into episodes at terminations and timeouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.data.episode import Episode
from weit_rl.data.episode_cutting import cut_episodes
from weit_rl.data.episode_marks import IDS, LAST_STEPS, LENGTHS, MARKS, STARTS
from weit_rl.data.formats.registry import FORMATS, EpisodeFormat, check_shapes, flat, unreadable
from weit_rl.data.hdf5 import check_hdf5
from weit_rl.data.recorded_spaces import SPACES, stated_spaces

WHAT = "HDF5 file"
ARRAYS = ("observations", "actions", "rewards", "terminals", "timeouts")
WHOLE = ("dones", "done", "dones_float", "episode_terminals", "is_last", *STARTS, *LAST_STEPS, *LENGTHS, *IDS)
TERMINATED = ("terminals", "terminal", "terminations", "terminated", "terminateds", "is_terminal")
CUT_OFF = ("timeouts", "timeout", "truncations", "truncated", "truncateds")
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def accepts(path: Path) -> bool:
    """Return True for a file that is named like an HDF5 file or begins like one."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix in (".hdf5", ".h5") or file.read(len(SIGNATURE)) == SIGNATURE


def read(path: Path) -> tuple[list[Episode], dict[str, Any]]:
    """Read the episodes and the attributes of an HDF5 file in D4RL's layout.

    Observations may be a group of arrays, those of a Dict. Other marks of :mod:`weit_rl.data.episode_marks` count too.
    They may replace ``terminals`` and ``timeouts`` if they mark every end. A last episode without a mark was cut off;
    it is kept if it is longer than one step.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            check_hdf5(file, path)
            instead = _instead(file)
            missing = [name for name in ARRAYS if name not in file and name not in instead]
            wanted = [name for name in (*ARRAYS, *MARKS, *SPACES) if name in file and not missing]
            arrays = {name: flat(_arrays(file[name])) for name in wanted}
            info = {key: _plain(value) for key, value in file.attrs.items()}
    except Exception as error:
        raise unreadable(path, WHAT, error) from error
    if missing:
        raise UserError(f"data {path}: no array {', '.join(missing)}; D4RL's layout has {', '.join(ARRAYS)}")
    check_shapes({name: arrays[name] for name in ARRAYS[1:] if name in arrays}, str(path))
    episodes, notes = cut_episodes(Episode(*(arrays[name] for name in ARRAYS[:3])), arrays, str(path))
    if len(arrays["rewards"]) and not any(name in IDS or arrays[name].any() for name in MARKS if name in arrays):
        notes = [f"no end of an episode is marked, so its {len(arrays['rewards'])} steps are taken as one"]
    spaces = stated_spaces({**info, **arrays}, arrays["actions"].shape[1])
    return episodes, info | spaces | {"notes": notes}


def _instead(file: Any) -> tuple[str, ...]:
    """Return the arrays that may be missing: with marks of every end both kinds, with truncations the timeouts."""
    if any(name in file for name in WHOLE):
        return ARRAYS[3:]
    pairs = [(ended, cut_off) for ended in TERMINATED for cut_off in CUT_OFF if ended in file and cut_off in file]
    return ARRAYS[3:] if pairs else ()


def _arrays(node: Any) -> Any:
    """Read an array, or the arrays of a group by name."""
    return np.asarray(node) if hasattr(node, "shape") else {key: _arrays(one) for key, one in node.items()}


def _plain(value: Any) -> Any:
    """Convert an attribute to a value that JSON can hold."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    return value if isinstance(value, str | int | float | bool | list) else str(value)


FORMATS.add("d4rl", EpisodeFormat(WHAT, accepts, read, native=True))
