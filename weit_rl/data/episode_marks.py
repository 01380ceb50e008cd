"""Ends of episodes in arrays that hold several, read from the marks stored beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from weit_rl.common.errors import UserError

# True for the last step of an episode: names of D4RL, Gymnasium, Minari, Stable-Baselines3, d3rlpy, dm_env and RLDS.
ENDS = (
    *("terminals", "terminal", "timeouts", "timeout", "terminations", "truncations", "terminated", "truncated"),
    *("terminateds", "truncateds", "dones", "done", "dones_float", "episode_terminals", "is_last", "is_terminal"),
)
STARTS = ("is_first", "episode_starts")  # True for the first step of an episode, or the indices of first steps
LAST_STEPS = ("episode_ends",)  # as ENDS, or the indices of last steps, or the indices after them
LENGTHS = ("episode_lengths", "trajectory_lengths", "traj_lengths")  # steps of each episode
IDS = ("episode_id", "episode_ids", "episode_index", "trajectory_id", "trajectory_ids", "traj_id", "traj_ids")
MARKS = (*ENDS, *STARTS, *LAST_STEPS, *LENGTHS, *IDS)


class _Mark(NamedTuple):
    ends: list[int]  # index of the row after each episode
    rows: int  # number of rows that the mark covers
    whole: bool = True  # True if every episode is marked; flags may lack the ends of a time limit


def marked_ends(marks: Mapping[str, np.ndarray], steps: int, seen: int, where: str) -> tuple[list[int], bool]:
    """Read the ends of episodes from the marks of arrays.

    Args:
        marks: arrays by name; names that are not in ``MARKS`` are ignored.
        steps: number of actions.
        seen: number of observations: as many as actions, one more, or one more per episode.
        where: the file, for errors.

    Returns:
        The index after the last step of each episode, empty if no mark is set, and whether these are all ends.

    Raises:
        UserError: if a mark fits neither number of rows, or two marks contradict each other.
    """
    found = {name: _read(name, marks[name], steps, seen, where) for name in MARKS if name in marks}
    said = {name: mark for name, mark in found.items() if mark is not None}
    first = next((name for name, mark in said.items() if mark.whole), None)
    ends = {end for mark in said.values() for end in mark.ends} if first is None else set(said[first].ends)
    for name, mark in said.items():
        if differ := (set(mark.ends) ^ ends if mark.whole else set(mark.ends) - ends):
            raise UserError(
                f"data {where}: {first} and {name} contradict each other, one has an end of an episode at step "
                f"{min(differ)} and the other has not; leave one of them out"
            )
    return sorted(ends), bool(first) or steps in ends


def _read(name: str, array: np.ndarray, steps: int, seen: int, where: str) -> _Mark | None:
    """Read a mark in rows of actions; return None if it concerns the whole file or sets no flag."""
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    flags = _is_flags(name, array, (steps, seen))
    if array.ndim == 0 or (flags and (len(array) == 1 < steps or not array.any())):
        return None
    if flags and name in STARTS and array.all():  # every step marked as a first one is a filler value
        return None
    fits = array.ndim == 1 and len(array) and (name in IDS or (array.dtype.kind in "fiub" and np.isfinite(array).all()))
    mark = _in_steps(_mark(name, array, flags, steps, seen), steps, seen) if fits else None
    if mark is None:
        raise UserError(
            f"data {where}: {name}, {array.dtype} {array.shape}, does not fit {steps} actions and {seen} observations, "
            "so that its episodes are not known; mend it, or leave it out if the file is one episode"
        )
    return mark


def _is_flags(name: str, array: np.ndarray, rows: tuple[int, int]) -> bool:
    if name in (*ENDS, *STARTS[:1]):
        return True
    return name in (*STARTS, *LAST_STEPS) and len(array) in rows and bool(((array == 0) | (array == 1)).all())


def _mark(name: str, array: np.ndarray, flags: bool, steps: int, seen: int) -> _Mark | None:
    """Read a mark in the rows that it covers; return None if these rows are unknown."""
    if name in IDS:
        return _of_ids(array)
    numbers = np.flatnonzero(array) if flags else array.astype(np.int64)
    if name in LENGTHS:
        return _Mark(np.cumsum(numbers).tolist(), int(numbers.sum()))
    rows = len(array) if flags else steps
    if name in STARTS:  # with one more row per episode, a list of starts does not show which rows it counts
        known = flags or (numbers[0] == 0 and not 1 < len(numbers) == seen - steps)
        return _Mark([*numbers[numbers > 0].tolist(), rows], rows) if known else None
    if flags:
        return _Mark((numbers + 1).tolist(), rows, whole=name in LAST_STEPS and bool(array[-1]))
    ends = numbers + (numbers[-1] not in (steps, seen))
    return _Mark(ends.tolist(), int(ends[-1]))


def _of_ids(array: np.ndarray) -> _Mark | None:
    """Read a mark from episode ids; return None if an id comes back, since such episodes are interleaved."""
    changes = np.flatnonzero(array[1:] != array[:-1]) + 1
    return _Mark([*changes.tolist(), len(array)], len(array)) if len(np.unique(array)) == len(changes) + 1 else None


def _in_steps(mark: _Mark | None, steps: int, seen: int) -> _Mark | None:
    """Convert a mark to rows of actions, one less per episode than observations; return None if it does not fit."""
    ends = mark.ends if mark else []
    if mark is None or not ends or ends != sorted(set(ends)) or ends[0] <= 0 or ends[-1] > mark.rows:
        return None
    if mark.rows == steps:
        return mark
    if mark.rows != seen:
        return None
    if seen == steps + 1 and ends[0] >= steps:  # one episode, with a mark at its last observation
        return _Mark([steps], steps, mark.whole)
    fits = ends[-1] == seen and len(ends) == seen - steps
    return _Mark([end - i for i, end in enumerate(ends, start=1)], steps, mark.whole) if fits else None
