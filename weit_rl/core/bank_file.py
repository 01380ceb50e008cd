"""The file of a template bank, and the checks of its card.

A bank is one safetensors file. Its card holds the format, the constraint and facts of the pre-training. A
readable copy of the card lies beside the file (``.json``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from weit_rl.common.errors import UserError
from weit_rl.storage.atomic_write import write_atomically
from weit_rl.storage.tensor_file import read_tensors, write_tensors

FORMAT = "weit_rl bank 1"
SIZE = re.compile(r"\d{1,6}x\d{1,6}(x\d{1,6})?")  # a size in a card, WIDTHxDEPTH or WIDTHxDEPTHxHEAD_DIM


def write_bank(
    path: Path, templates: Mapping[str, Tensor], source: Mapping[str, Tensor], card: Mapping[str, Any]
) -> None:
    """Write the file of a bank, and the readable copy of its card.

    Args:
        path: of the safetensors file; its folder must exist.
        templates: by role.
        source: tensors of the pre-trained network, by name.
        card: any JSON mapping.
    """
    tensors = {f"templates.{role}": tensor.detach() for role, tensor in templates.items()}
    tensors |= {f"source.{name}": tensor.detach() for name, tensor in source.items()}
    card = {"format": FORMAT, **card}
    # The copy is written first, so that every bank file has its card beside it.
    write_atomically(card_path(path), (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
    write_tensors(path, tensors, card)


def read_bank(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors (``templates.*``, ``source.*``) and the card of a bank's file.

    Raises:
        UserError: if the file is missing, damaged or no bank, or the copy of its card was edited.
    """
    tensors, card = read_tensors(path)
    if card.get("format") != FORMAT:
        raise UserError(f"{path}: not a template bank (format {card.get('format')!r}); make one with weit_rl.pretrain")
    _check_copy(card_path(path), card)
    return tensors, card


def card_path(bank: Path) -> Path:
    """Return the path of the readable copy of a bank's card."""
    return bank.with_suffix(".json") if bank.suffix == ".safetensors" else bank.with_name(bank.name + ".json")


def check_card_types(card: Mapping[str, Any]) -> None:
    """Check the types of the entries that weit_rl reads from a card.

    Raises:
        TypeError: if an entry has another type.
        KeyError: if the card names no constraint.
    """
    counts = card.get("size", [1, 1, 1])
    sampled = _as_list(card.get("sizes_sampled", []))
    texts = [card["constraint"], card.get("model", ""), *_as_list(card.get("names", [])), *sampled]
    if len(counts) != 3 or not all(type(count) is int and count > 0 for count in counts):
        raise TypeError(f"size {counts!r:.60}")
    if not all(isinstance(text, str) for text in texts) or not isinstance(card.get("config", {}), dict):
        raise TypeError("an entry has the wrong type")
    if not isinstance(card.get("tiles", {}), dict):
        raise TypeError(f"tiles {card['tiles']!r:.60}")
    for text in sampled:
        if not SIZE.fullmatch(text):
            raise TypeError(f"sizes_sampled {text!r:.60}")


def _as_list(value: Any) -> list[Any]:
    """Return the value if it is a list, else a list of it alone."""
    return value if isinstance(value, list) else [value]


def _check_copy(path: Path, card: dict[str, Any]) -> None:
    """Raise UserError if the readable copy of a card exists and differs from the card."""
    if not path.is_file():
        return
    try:
        same = json.loads(path.read_text()) == card
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise UserError(f"{path}: was edited and differs from the card in its bank; restore or delete it")
