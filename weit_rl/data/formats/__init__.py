"""Formats of recorded episodes on disk: each is one file of this folder, which is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weit_rl.data.episode import Episode
from weit_rl.data.isolated import read_isolated
from weit_rl.errors import UserError
from weit_rl.registry import Registry

OWN = Path(__file__).resolve().parents[2] / "assets"  # what ships can be trusted


class Format(NamedTuple):
    """How one kind of file or folder is recognised and read.

    Attributes:
        what: a noun for error messages.
        accepts: whether an existing path looks like one; no two formats may accept the same path.
        read: its episodes, each an :class:`Episode` or a tuple alike, in the environment's own units, and its metadata,
            plain values that JSON can hold (``env_id``, ``level``, ``algorithm`` where they are known, ``reset_seeds``
            of the episodes). Raises UserError, of :func:`check_shapes` or :func:`unreadable`, for what is wrong with
            it. It must not load what can run code.
        native: whether a library in C parses it, which a hostile file may crash: it is read in a process of its own
            then (default False).
    """

    what: str
    accepts: Callable[[Path], bool]
    read: Callable[[Path], tuple[list[Any], dict[str, Any]]]
    native: bool = False


FORMATS: Registry[Format] = Registry("data format")


def load_formats() -> Registry[Format]:
    """Import every file of this folder, so that each adds its format; returns the filled registry."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return FORMATS


def read_episodes(path: Path) -> tuple[list[Episode], dict[str, Any]]:
    """The episodes of a file or folder and its metadata, to which ``format`` is added.

    Raises:
        UserError: if it is in none of the formats, or not whole.
    """
    formats = {name: load_formats().get(name) for name in load_formats().names()}
    try:
        name = next((name for name, one in formats.items() if one.accepts(path)), None)
    except OSError as error:
        raise UserError(f"data {path}: cannot read ({error.strerror}); give another path") from error
    if name is None:
        kinds = ", ".join(f"not a complete {one.what}" for one in formats.values())
        raise UserError(f"data {path}: {kinds}; give one of these, or record or download it again")
    apart = formats[name].native and not path.resolve().is_relative_to(OWN)
    episodes, info = read_isolated(name, path) if apart else formats[name].read(path)
    return [Episode(*episode) for episode in episodes], info | {"format": name}


def before_each(observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The observations before each action, without the one behind the last that many formats keep too."""
    one_more = observations.shape[:1] == (len(np.atleast_1d(actions)) + 1,)
    return observations[:-1] if one_more else observations


def check_shapes(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """UserError unless all arrays hold numbers and are of one length, observations and actions one vector a step.

    Observations may be pictures instead, bytes of shape ``(steps, colours, height, width)``.
    """
    for name, array in arrays.items():
        pictures = name == "observations" and array.ndim == 4 and array.dtype == np.uint8
        dimensions = 4 if pictures else 2 if name in ("observations", "actions") else 1
        if array.ndim != dimensions or array.dtype.kind not in "fiub":
            wanted = "(steps, size)" if dimensions == 2 else "(steps,)"
            raise UserError(f"data {where}: {name} is {array.dtype} {array.shape}, must be numbers of shape {wanted}")
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise UserError(f"data {where}: lengths differ ({lengths}); record the set again")


def unreadable(path: Path, kind: str, error: Exception) -> UserError:
    """The error for a file or folder that is cut short, damaged or something else."""
    reason = " ".join(str(error).split())[:200]
    return UserError(f"data {path}: not a complete {kind} ({reason}); record or download it again")
