"""Checks of what an HDF5 file declares, made before anything in it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weit_rl.storage.read_limits import most_bytes


def check_hdf5(file: Any, path: Path) -> None:
    """Raise ValueError if an open file refers to other files, or declares arrays larger than it can hold.

    Args:
        file: open in h5py.
        path: of the data set that the file belongs to.
    """
    import h5py

    claimed = 0

    def leads_away(name: bytes, link: Any) -> str | None:
        return name.decode(errors="replace") if link.type == h5py.h5l.TYPE_EXTERNAL else None

    def lies_elsewhere(name: str, node: Any) -> str | None:
        nonlocal claimed
        if not isinstance(node, h5py.Dataset):
            return None
        claimed += int(node.nbytes)
        return name if node.external or node.is_virtual else None

    # Returning a value ends the visit; an exception would have to pass through the C library.
    if elsewhere := file.id.links.visit(leads_away, info=True) or file.visititems(lies_elsewhere):
        raise ValueError(f"{elsewhere} lies in another file")
    if claimed > most_bytes(path):
        raise ValueError(f"it declares {claimed:,} bytes, more than such a file can hold")
