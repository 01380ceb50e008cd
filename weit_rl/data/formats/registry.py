"""The registry of data formats, and what a file that adds one needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry
from weit_rl.envs.flat_spaces import parts


class Format(NamedTuple):
    """How one kind of file or folder is recognised and read.

    Attributes:
        what: a noun for error messages.
        accepts: whether an existing path looks like one; no two formats may accept the same path.
        read: its episodes, each an :class:`Episode` or a tuple alike, in the environment's own units, and its metadata,
            plain values that JSON can hold (``env_id``, ``level``, ``algorithm`` where they are known, ``reset_seeds``
            of the episodes, the set's own ``action_space``, ``observation_space`` and ``env_spec``, ``notes`` to warn
            of, a line each). Raises UserError, of :func:`check_shapes` or :func:`unreadable`, for what is wrong with
            it. It must not load what can run code.
        native: whether a library in C parses it, which a hostile file may crash: it is read in a process of its own
            then (default False).
    """

    what: str
    accepts: Callable[[Path], bool]
    read: Callable[[Path], tuple[list[Any], dict[str, Any]]]
    native: bool = False


FORMATS: Registry[Format] = Registry("data format", "weit_rl.data.formats", "weit_rl.data_formats")


def column(numbers: np.ndarray) -> np.ndarray:
    """One number a step: what is of shape ``(steps, 1)`` as ``(steps,)``, all else as it is."""
    return numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers


def flat(observations: Any) -> np.ndarray:
    """Arrays ``(steps, ...)`` in nested mappings or tuples as one ``(steps, size)``, in the order environments have.

    A single array stays as it is.

    Raises:
        ValueError: if an array has no steps, or they are of different lengths.
    """
    if not isinstance(observations, Mapping | tuple):
        return np.asarray(observations)
    arrays = [np.asarray(array) for _, array in parts(observations)]
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def before_each(observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The observations before each action, without the one behind the last that many formats keep too."""
    one_more = observations.shape[:1] == (len(np.atleast_1d(actions)) + 1,)
    return observations[:-1] if one_more else observations


def check_shapes(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """UserError unless all arrays hold numbers and are of one length.

    Observations may be of any shape but one number a step, actions are a vector a step, all else is one number.
    """
    for name, array in arrays.items():
        vectors = {"observations": array.ndim >= 2, "actions": array.ndim == 2}
        fits = vectors.get(name, column(array).ndim == 1)
        if not fits or array.dtype.kind not in "fiub":
            wanted = "(steps, size)" if name in vectors else "(steps,)"
            raise UserError(f"data {where}: {name} is {array.dtype} {array.shape}, must be numbers of shape {wanted}")
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise UserError(f"data {where}: lengths differ ({lengths}); record the set again")


def unreadable(path: Path, kind: str, error: Exception) -> UserError:
    """The error for a file or folder that is cut short, damaged or something else."""
    reason = " ".join(str(error).split())[:200]
    return UserError(f"data {path}: not a complete {kind} ({reason}); record or download it again")
