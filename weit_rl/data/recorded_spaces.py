"""Observation and action spaces that a data set states, as the formats store them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from weit_rl.envs.flat_spaces import parts

TEXTS = ("action_space", "observation_space", "env_spec")  # as Minari and Gymnasium write them
BOUNDS = (("action_low", "action_high"), ("action_space_low", "action_space_high"), ("act_low", "act_high"))
BOX = re.compile(r"Box\((?P<low>[^,]+), (?P<high>[^,]+), \((?P<shape>[\d, ]+)\), \w+\)")
MOST = 10**6  # largest number of entries in a box that is written with one bound for all
SPACES = (*TEXTS, *(name for pair in BOUNDS for name in pair), "low", "high", "max_action")


@dataclass(frozen=True)
class SpaceBox:
    """A box of numbers.

    Attributes:
        shape: of the box.
        low: lower bounds, flat.
        high: upper bounds, flat.
    """

    shape: tuple[int, ...]
    low: np.ndarray
    high: np.ndarray

    @property
    def size(self) -> int:
        """Return the number of entries."""
        return math.prod(self.shape)

    @property
    def is_bounded(self) -> bool:
        """Return True if all bounds are finite, and every lower bound is below its upper bound."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all() and (self.low < self.high).all())

    def __str__(self) -> str:
        pairs = dict.fromkeys(f"[{low:g}, {high:g}]" for low, high in zip(self.low, self.high, strict=True))
        return " and ".join(list(pairs)[:3]) + (" and others" if len(pairs) > 3 else "")


def stated_spaces(names: Mapping[str, Any], actions: int) -> dict[str, Any]:
    """Collect the spaces that arrays or attributes beside the data state, as plain values.

    Args:
        names: arrays or attributes by name; names that are not in ``SPACES`` are ignored.
        actions: numbers in one action; ``low`` and ``high`` of that length are its bounds.

    Returns:
        ``action_space``, ``observation_space`` and ``env_spec``, as far as they are stated.
    """
    stated: dict[str, Any] = {name: _text(names[name]) for name in TEXTS if name in names}
    numbers = {name: np.asarray(one, np.float64) for name, one in names.items() if name in SPACES and _is_numbers(one)}
    sizes = {name: one.size for name, one in numbers.items()}
    pairs = [pair for pair in BOUNDS if set(pair) <= set(numbers)]
    pairs += [("low", "high")] if sizes.get("low") == sizes.get("high") == actions else []
    ends = [(numbers[low], numbers[high]) for low, high in pairs]
    ends += [(-numbers["max_action"], numbers["max_action"])] if "max_action" in numbers else []
    return ({"action_space": _box(*ends[0], actions)} if ends else {}) | stated


def _is_numbers(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "fiu" and np.size(value) > 0


def parse_space(stated: Any) -> dict[str, SpaceBox]:
    """Parse a space that a set states into its boxes by name; the name of a single box is empty.

    Args:
        stated: Minari's JSON as text or parsed, or the text in which Gymnasium prints a Box.

    Raises:
        ValueError: if it is none of these, or holds a space that is no Box.
    """
    try:
        stated = (
            (json.loads(stated) if stated.lstrip().startswith("{") else _parse_text(stated))
            if isinstance(stated, str)
            else stated
        )
        return dict(parts(_boxes(stated)))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no space ({error})") from error


def boxes_of_space(space: Any) -> dict[str, SpaceBox]:
    """Return the boxes of a Gymnasium space by name."""
    return {name: SpaceBox(box.shape, box.low.ravel(), box.high.ravel()) for name, box in parts(space)}


def _boxes(stated: Mapping[str, Any]) -> Any:
    kind, inner = stated["type"], stated.get("subspaces")
    if kind == "Dict":
        return {key: _boxes(one) for key, one in dict(inner or {}).items()}
    if kind == "Tuple":
        return tuple(_boxes(one) for one in inner or ())
    if kind != "Box":
        raise ValueError(f"{kind} is no box of numbers")
    low, high = (np.array(stated[end], np.float64).ravel() for end in ("low", "high"))
    shape = tuple(int(edge) for edge in stated["shape"])
    if not len(low) == len(high) == math.prod(shape):
        raise ValueError("bounds and shape of a box differ")
    return SpaceBox(shape, low, high)


def _parse_text(text: str) -> dict[str, Any]:
    """Parse a Box as Gymnasium prints it: one bound for all entries, or all bounds."""
    found = BOX.fullmatch(text.strip())
    if found is None:
        raise ValueError("neither JSON nor a Box")
    shape = [int(edge) for edge in found["shape"].split(",") if edge.strip()]
    low, high = ([float(one) for one in found[end].strip("[]").split()] for end in ("low", "high"))
    many = math.prod(shape) if len(low) == len(high) == 1 and math.prod(shape) <= MOST else 1
    return {"type": "Box", "shape": shape, "low": low * many, "high": high * many}


def _box(low: np.ndarray, high: np.ndarray, actions: int) -> dict[str, Any]:
    bounds = [end.ravel().tolist() * (actions if end.size == 1 else 1) for end in (low, high)]
    return {"type": "Box", "shape": [len(bounds[0])], "low": bounds[0], "high": bounds[1]}


def _text(value: Any) -> str:
    value = np.asarray(value).item() if np.size(value) == 1 else str(value)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
