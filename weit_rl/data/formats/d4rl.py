"""D4RL's layout: an HDF5 file with flat arrays, cut into episodes where one terminates or times out."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.data.formats import FORMATS, Episode, Format, check_shapes, unreadable
from weit_rl.data.hdf5 import check_hdf5
from weit_rl.errors import UserError

WHAT = "HDF5 file"
ARRAYS = ("observations", "actions", "rewards", "terminals", "timeouts")
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def accepts(path: Path) -> bool:
    """A file named or beginning as HDF5 files are."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix in (".hdf5", ".h5") or file.read(len(SIGNATURE)) == SIGNATURE


def read(path: Path) -> tuple[list[Episode], dict[str, Any]]:
    """The episodes and the attributes of an HDF5 file in D4RL's layout.

    A last episode that neither terminates nor times out was cut off; it is kept if it is longer than one step.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            check_hdf5(file, path)
            missing = [name for name in ARRAYS if name not in file]
            arrays = {name: np.asarray(file[name]) for name in ARRAYS if not missing}
            info = {key: _plain(value) for key, value in file.attrs.items()}
    except Exception as error:
        raise unreadable(path, WHAT, error) from error
    if missing:
        raise UserError(f"data {path}: no array {', '.join(missing)}; D4RL's layout has {', '.join(ARRAYS)}")
    check_shapes(arrays, str(path))
    return _cut(arrays), info


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    return value if isinstance(value, str | int | float | bool | list) else str(value)


def _cut(arrays: dict[str, np.ndarray]) -> list[Episode]:
    steps = len(arrays["rewards"])
    ends = np.flatnonzero(arrays["terminals"].astype(bool) | arrays["timeouts"].astype(bool)) + 1
    bounds = [0, *ends.tolist()]
    if steps - bounds[-1] > 1:
        bounds.append(steps)
    spans = [slice(begin, end) for begin, end in pairwise(bounds)]
    return [Episode(arrays["observations"][s], arrays["actions"][s], arrays["rewards"][s]) for s in spans]


FORMATS.add("d4rl", Format(WHAT, accepts, read, native=True))
