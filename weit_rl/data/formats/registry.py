"""The registry of data formats, and the interface of a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry
from weit_rl.envs.flat_spaces import parts


class EpisodeFormat(NamedTuple):
    """How one kind of file or folder is recognised and read.

    Attributes:
        what: a noun for error messages.
        accepts: returns True for an existing path of this format; no two formats may accept the same path.
        read: returns the episodes and the metadata. An episode is an :class:`Episode` or a tuple with its fields, in
            the environment's own units. The metadata are plain values that JSON can hold: ``env_id``, ``level``,
            ``algorithm`` if known, ``reset_seeds`` of the episodes, the set's own ``action_space``,
            ``observation_space`` and ``env_spec``, and ``notes``, lines to warn of. It raises UserError, from
            :func:`check_shapes` or :func:`unreadable`, for damage. It must not load anything that can run code.
        native: True if a C library parses it. A hostile file may crash that library, so the file is read in a separate
            process (default False).
    """

    what: str
    accepts: Callable[[Path], bool]
    read: Callable[[Path], tuple[list[Any], dict[str, Any]]]
    native: bool = False


FORMATS: Registry[EpisodeFormat] = Registry("data format", "weit_rl.data.formats", "weit_rl.data_formats")


def column(numbers: np.ndarray) -> np.ndarray:
    """Return numbers of shape ``(steps, 1)`` as ``(steps,)``, and all others unchanged."""
    return numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers


def flat(observations: Any) -> np.ndarray:
    """Join arrays ``(steps, ...)`` in nested mappings or tuples to ``(steps, size)``, in the order of environments.

    A single array stays as it is.

    Raises:
        ValueError: if an array has no steps, or lengths differ.
    """
    if not isinstance(observations, Mapping | tuple):
        return np.asarray(observations)
    arrays = [np.asarray(array) for _, array in parts(observations)]
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def before_each(observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return the observation before each action, without the one after the last action that many formats keep too."""
    one_more = observations.shape[:1] == (len(np.atleast_1d(actions)) + 1,)
    return observations[:-1] if one_more else observations


def check_shapes(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Raise UserError unless all arrays hold numbers and have one length.

    Observations have two or more axes, actions are a vector per step, and everything else is one number per step.
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
    """Return the error for a file or folder that is cut short, damaged or of another kind."""
    reason = " ".join(str(error).split())[:200]
    return UserError(f"data {path}: not a complete {kind} ({reason}); record or download it again")
