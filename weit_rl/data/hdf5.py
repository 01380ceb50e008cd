"""What an HDF5 file says of itself, looked at before anything in it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weit_rl.limits import most_bytes


def check_hdf5(file: Any, path: Path) -> None:
    """ValueError if an open file leads out of itself, or its arrays are larger than it can hold.

    Args:
        file: open in h5py.
        path: of the set that it is of.
    """
    import h5py

    claimed = 0

    def follow(name: bytes, link: Any) -> None:
        if link.type == h5py.h5l.TYPE_EXTERNAL:
            raise ValueError(f"{name.decode(errors='replace')} leads to another file")

    def look(name: str, node: Any) -> None:
        nonlocal claimed
        if isinstance(node, h5py.Dataset):
            if node.external or node.is_virtual:
                raise ValueError(f"{name} lies in another file")
            claimed += int(node.nbytes)

    file.id.links.visit(follow, info=True)
    file.visititems(look)
    if claimed > most_bytes(path):
        raise ValueError(f"it says that it holds {claimed:,} bytes, which cannot be")
