"""What an HDF5 file says of itself, looked at before anything in it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weit_rl.storage.read_limits import most_bytes


def check_hdf5(file: Any, path: Path) -> None:
    """ValueError if an open file leads out of itself, or its arrays are larger than it can hold.

    Args:
        file: open in h5py.
        path: of the set that it is of.
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

    # An answer ends the visit; an error would have to pass through the library.
    if elsewhere := file.id.links.visit(leads_away, info=True) or file.visititems(lies_elsewhere):
        raise ValueError(f"{elsewhere} lies in another file")
    if claimed > most_bytes(path):
        raise ValueError(f"it says that it holds {claimed:,} bytes, which cannot be")
