"""Ways to spoil the values inside a file and write matching checksums, by the file's suffix."""

from __future__ import annotations

import io
import json
import random
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from mutations import text

from weit_rl.storage.tensor_file import read_tensors, write_tensors

Spoil = Callable[[Any, random.Random], Any]


def in_tensors(data: bytes, rng: random.Random, warp: Spoil, spoil: Spoil) -> bytes:
    """Spoil the card or the tensors of a tensor file; its checksum matches."""
    folder = tempfile.TemporaryDirectory(prefix="fuzz")
    place = Path(folder.name) / "x.safetensors"
    try:
        place.write_bytes(data)
        tensors, card = read_tensors(place)
        if rng.random() < 0.6:
            card = warp(card, rng)
        else:
            name = rng.choice(sorted(tensors))
            tensor = tensors.pop(name)
            ways = (tensor.flatten(), tensor[None], tensor[:0] if tensor.ndim else tensor, tensor.to(torch.int8), None)
            chosen = rng.choice(ways)
            tensors |= {name if rng.random() < 0.8 else "x": chosen} if chosen is not None else {}
        write_tensors(place, tensors, card)
        return place.read_bytes()
    except Exception:  # a file of another layout, or a card that JSON cannot hold
        return bytes(spoil(data, rng))
    finally:
        folder.cleanup()


def in_json(data: bytes, rng: random.Random, warp: Spoil, spoil: Spoil) -> bytes:
    """Spoil a value of a JSON file."""
    return text(warp(json.loads(data), rng))


def in_yaml(data: bytes, rng: random.Random, warp: Spoil, spoil: Spoil) -> bytes:
    """Spoil a value of a YAML file; written as JSON, which is YAML and allows any depth."""
    return text(warp(yaml.safe_load(data), rng))


def in_zip(data: bytes, rng: random.Random, warp: Spoil, spoil: Spoil) -> bytes:
    """Spoil or rename a member of a zip archive; its checksums match."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(made, "w") as archive:
        chosen = rng.choice(source.namelist())
        for name in source.namelist():
            member = source.read(name)
            if name == chosen:
                member = in_json(member, rng, warp, spoil) if name == "data" else spoil(member, rng)
                name = rng.choice((name, name, name, f"../{name}", f"/{name}", name * 30, ""))
            archive.writestr(name or "x", member)
    return made.getvalue()


INSIDE = {".safetensors": in_tensors, ".json": in_json, ".yaml": in_yaml, ".zip": in_zip, ".npz": in_zip}
