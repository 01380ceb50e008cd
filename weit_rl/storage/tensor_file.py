"""Tensor files: safetensors with a JSON card and a checksum, for banks, checkpoints and training states.

Reading a tensor file runs no code (no pickle). A truncated or edited file is refused. torch is imported only where
tensors are needed, so that reading a card stays fast.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weit_rl.common.errors import UserError
from weit_rl.storage.atomic_write import write_atomically

if TYPE_CHECKING:
    import torch

Card = dict[str, Any]


def write_tensors(path: str | Path, tensors: dict[str, torch.Tensor], card: Card, keep: bool = False) -> None:
    """Write tensors and their card atomically; tensors may share memory, be strided or be on any device.

    Args:
        path: the file, usually ``*.safetensors``; its folder must exist.
        tensors: by name; dtype, shape and every bit are kept.
        card: any JSON mapping: origin of the tensors, sizes, settings.
        keep: whether to keep an older file as ``*.previous``, for :func:`newest` (default False).

    Raises:
        UserError: if the disk is full or the folder cannot be written; an older file is then unchanged.
    """
    import torch
    from safetensors.torch import save

    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    text = json.dumps(card, sort_keys=True)
    data = _sort_metadata(save(plain, metadata={"card": text, "sha256": _digest(text, plain)}))
    write_atomically(path, data, previous_path(Path(path)) if keep else None)


def previous_path(path: Path) -> Path:
    """Return the path under which ``write_tensors(..., keep=True)`` keeps the older file."""
    return path.with_suffix(".previous")


def newest_whole_file(path: Path) -> Path | None:
    """Return the newer of a file and its kept predecessor that is whole, or None if neither exists.

    It warns if the newer one is damaged.

    Raises:
        UserError: if every file that exists is damaged.
    """
    damage: UserError | None = None
    for place in (path, previous_path(path)):
        try:
            if place.exists():
                read_tensors(place)
                if damage:
                    warnings.warn(f"{damage}; {place.name}, the one before it, is taken instead", stacklevel=2)
                return place
        except UserError as error:
            damage = damage or error
    if damage:
        raise damage
    return None


def read_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], Card]:
    """Read the tensors (on the CPU, sorted by name) and the card of a file.

    Raises:
        UserError: if the file is missing, truncated or changed.
    """
    from safetensors.torch import load

    metadata = _metadata(path)
    try:
        stored = load(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot read ({error.strerror}); check the path") from error
    except Exception as error:  # safetensors has errors of its own, and torch for unknown dtypes
        raise _broken(path) from error
    tensors = dict(sorted(stored.items()))
    if _digest(metadata["card"], tensors) != metadata["sha256"]:
        raise UserError(f"{path}: was changed after it was written (checksum differs); copy it again or make it again")
    return tensors, json.loads(metadata["card"])


def read_card(path: str | Path) -> Card:
    """Read only the card; the tensors are not read and so not checked.

    Raises:
        UserError: if the file is missing or its header is damaged.
    """
    return json.loads(_metadata(path)["card"])


def _metadata(path: str | Path) -> dict[str, str]:
    """Read the header's text entries ``card`` and ``sha256``."""
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb"), safe_open(path, framework="numpy") as file:  # open names the reason if it fails
            metadata = file.metadata() or {}
        if not isinstance(json.loads(metadata["card"]), dict) or "sha256" not in metadata:
            raise _broken(path)
        return metadata
    except OSError as error:
        raise UserError(f"{path}: cannot read ({error.strerror}); check the path") from error
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise _broken(path) from error


def _sort_metadata(data: bytes) -> bytes:
    """Sort the metadata, which safetensors writes in random order, so that equal content gives equal bytes."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the data to 8 bytes
    return len(text).to_bytes(8, "little") + text + data[end:]


def _broken(path: str | Path) -> UserError:
    """Return the error for a file that is no whole tensor file."""
    if zipfile.is_zipfile(path):
        return UserError(
            f"{path}: a .zip holds no weights of weit_rl; if it is a Stable-Baselines3 agent, "
            "weit_rl.agents.resizing.resized gives it another size"
        )
    return UserError(f"{path}: not a whole weit_rl tensor file (cut short, or another format); copy or make it again")


def _digest(card: str, tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of the card and of every tensor's name, dtype, shape and bytes."""
    import torch

    digest = hashlib.sha256(card.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())  # as bytes, because numpy lacks bfloat16
    return digest.hexdigest()
