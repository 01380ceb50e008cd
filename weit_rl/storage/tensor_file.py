"""Tensor files: safetensors with a JSON card and a checksum, for banks, checkpoints and training states.

Reading one runs no code (no pickle), and a file that was cut short or edited is refused. torch is imported where
tensors are: cards are read without it.
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
    """Write tensors and their card atomically; tensors may share memory, be strided or live on any device.

    Args:
        path: the file, by custom ``*.safetensors``; its folder must exist.
        tensors: by name; dtype, shape and every bit are kept.
        card: whatever JSON can hold: where the tensors come from, sizes, settings.
        keep: whether an older file is kept as ``*.previous``, for :func:`newest` (default False).

    Raises:
        UserError: if the disk is full or the folder not writable; an older file is untouched then.
    """
    import torch
    from safetensors.torch import save

    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    text = json.dumps(card, sort_keys=True)
    data = _in_order(save(plain, metadata={"card": text, "sha256": _digest(text, plain)}))
    write_atomically(path, data, previous(Path(path)) if keep else None)


def previous(path: Path) -> Path:
    """What ``write_tensors(..., keep=True)`` calls the file before this one."""
    return path.with_suffix(".previous")


def newest(path: Path) -> Path | None:
    """Of a file that is written with ``keep`` and the one before it, the newest that is whole; None if there is none.

    Raises:
        UserError: if what is there is damaged.
    """
    damage: UserError | None = None
    for place in (path, previous(path)):
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
    """The tensors (on the CPU, sorted by name) and the card of a file; UserError unless it is whole and unchanged."""
    from safetensors.torch import load

    metadata = _metadata(path)
    try:
        stored = load(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot read ({error.strerror}); check the path") from error
    except Exception as error:  # of safetensors, and of torch for what it does not know
        raise _broken(path) from error
    tensors = dict(sorted(stored.items()))
    if _digest(metadata["card"], tensors) != metadata["sha256"]:
        raise UserError(f"{path}: was changed after it was written (checksum differs); copy it again or make it again")
    return tensors, json.loads(metadata["card"])


def read_card(path: str | Path) -> Card:
    """Only the card, without reading the tensors (so without checking them)."""
    return json.loads(_metadata(path)["card"])


def _metadata(path: str | Path) -> dict[str, str]:
    """The header's text entries: 8 bytes of length, then JSON."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > Path(path).stat().st_size:
                raise _broken(path)
            metadata = json.loads(file.read(length))["__metadata__"]
        if not isinstance(json.loads(metadata["card"]), dict) or not isinstance(metadata["sha256"], str):
            raise _broken(path)
        return {"card": metadata["card"], "sha256": metadata["sha256"]}
    except OSError as error:
        raise UserError(f"{path}: cannot read ({error.strerror}); check the path") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _broken(path) from error


def _in_order(data: bytes) -> bytes:
    """safetensors writes the metadata in random order; the same tensors and card must give the same bytes."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns what follows
    return len(text).to_bytes(8, "little") + text + data[end:]


def _broken(path: str | Path) -> UserError:
    if zipfile.is_zipfile(path):
        return UserError(
            f"{path}: a .zip holds no weights of weit_rl; if it is a Stable-Baselines3 agent, "
            "weit_rl.agents.resizing.resized gives it another size"
        )
    return UserError(f"{path}: not a whole weit_rl tensor file (cut short, or another format); copy or make it again")


def _digest(card: str, tensors: dict[str, torch.Tensor]) -> str:
    import torch

    digest = hashlib.sha256(card.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())  # numpy itself knows no bfloat16
    return digest.hexdigest()
