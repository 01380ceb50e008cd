"""Act with an exported policy; this file needs ONNX Runtime and NumPy only, neither torch nor the rest of weit_rl.

    policy = OnnxPolicy("policy.onnx")
    action = policy.act(observation)             # the first step of an episode
    action = policy.act(observation, reward)     # every later step, with the reward of the last action
    policy.reset()                               # the next episode

This file can be copied to a machine without weit_rl. The output ``next_X`` of a call is the input ``X`` of the next
call; a policy has no other memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
KEY = "weit_rl"  # of the card in the file's metadata
NEXT = "next_"  # prefix of outputs that are inputs of the next call
DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}


class ExportedPolicy:
    """A policy in a file, which remembers earlier steps.

    Args:
        run: computes a step: inputs by name to outputs by name.
        blank: inputs of one row at the start of an episode, ``(1, ...)``.
        card: the file's card.

    Attributes:
        batch: number of environments per call; None for any number.
        target_return: return that the policy is conditioned on, in raw reward units; set it before :meth:`reset`.
    """

    def __init__(self, run: Callable[[Arrays], Mapping[str, np.ndarray]], blank: Arrays, card: Mapping[str, Any]):
        self.run, self.blank, self.card = run, blank, dict(card)
        self.batch: int | None = card["batch"]
        self.target_return = float(card["target_return"])
        self.reset()

    def reset(self) -> None:
        """Start new episodes."""
        self._memory: Arrays = {}
        self._to_go = np.zeros(0, np.float32)
        self._rows = 0  # in the last call

    def act(self, observation: np.ndarray, reward: np.ndarray | float | None = None) -> np.ndarray:
        """Choose an action in the environment's own units.

        Args:
            observation: ``(obs,)``, or ``(n, obs)`` of n environments whose episodes start together; pictures likewise.
                Row i belongs to the same environment in every call until :meth:`reset`.
            reward: reward of the last action: a number, ``(n,)`` or ``(n, 1)``. None (default) assumes that every step
                earns an equal part of the target return. The first step of an episode ignores it.

        Returns:
            The action ``(act,)``, or ``(n, act)``.

        Raises:
            ValueError: for observations of another shape or type, or not finite; for more environments than the file
                takes, or another number than in the last call; for rewards that do not match the observations.
        """
        blank = self.blank["observation"]
        rows = as_numbers(observation, blank.dtype, "observation")
        single = rows.ndim == blank.ndim - 1
        rows = rows[None] if single else rows
        room = len(self._to_go) or self.batch or len(rows)
        if rows.shape[1:] != blank.shape[1:] or not 0 < len(rows) <= room:
            raise ValueError(f"observations of shape {rows.shape}: takes {(room, *blank.shape[1:])}, or fewer rows")
        if len(self._to_go) and len(rows) != self._rows:
            raise ValueError(f"{len(rows)} observations, the last call had {self._rows}: give as many, or call reset()")
        self._count_down(room, None if reward is None or not len(self._to_go) else rewards_per_row(reward, len(rows)))
        self._rows = len(rows)
        given = {**self._memory, "observation": padded(rows, room), "return_to_go": self._to_go}
        outputs = self.run({name: given[name] for name in self.blank})
        self._memory = {name.removeprefix(NEXT): array for name, array in outputs.items() if name.startswith(NEXT)}
        action = outputs["action"][: len(rows)]
        return action[0] if single else action

    def _count_down(self, room: int, reward: np.ndarray | None) -> None:
        if not len(self._to_go):  # an episode starts
            self._memory = {name: padded(array[:0], room) for name, array in self.blank.items()}
            self._to_go = np.full(room, self.target_return, np.float32)
            return
        part = np.float32(self.target_return / self.card["episode_steps"])
        self._to_go = self._to_go - (part if reward is None else padded(reward, room))


class OnnxPolicy(ExportedPolicy):
    """A policy in an ``.onnx`` file that ``python -m weit_rl.export`` wrote.

    Args:
        path: the file.
        threads: CPU threads (default 1; small networks gain nothing from more).
        providers: ONNX Runtime's execution providers (default: the CPU's).

    Raises:
        ValueError: if the file holds no such policy.
    """

    def __init__(self, path: str | Path, threads: int = 1, providers: tuple[str, ...] = ("CPUExecutionProvider",)):
        session = open_session(path, threads, providers)
        card = card_of(session)
        if "target_return" not in card:
            raise ValueError(f"{path}: no policy that weit_rl.export wrote")
        blank = {one.name: np.zeros((1, *one.shape[1:]), DTYPES[one.type]) for one in session.get_inputs()}
        super().__init__(step_function(session), blank, card)


def open_session(
    model: str | Path | bytes, threads: int = 1, providers: tuple[str, ...] = ("CPUExecutionProvider",)
) -> Any:
    """Open a file, or its bytes, as a session of ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=list(providers))


def card_of(session: Any) -> dict[str, Any]:
    """Read the card of a file."""
    return dict(json.loads(session.get_modelmeta().custom_metadata_map.get(KEY, "{}")))


def step_function(session: Any) -> Callable[[Arrays], Arrays]:
    """Wrap a session as a function of named arrays."""
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def as_numbers(values: Any, dtype: Any, what: str) -> np.ndarray:
    """Convert values to an array of a type; ValueError for anything that is no finite number, or no byte for uint8."""
    try:
        found = np.asarray(values)
    except ValueError as error:  # rows differ in length
        raise ValueError(f"{what}: not an array of numbers ({error})") from error
    if found.dtype.kind not in "biuf":
        raise ValueError(f"{what}: of type {found.dtype}, not numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = found.astype(dtype, copy=False)
    wrong = (cast != found) if dtype == np.uint8 else ~np.isfinite(cast)
    if wrong.any():
        place, kind = tuple(np.argwhere(wrong)[0].tolist()), "a byte" if dtype == np.uint8 else "finite"
        raise ValueError(f"{what}: {found[place]} at {place} is not {kind}")
    return cast


def rewards_per_row(reward: Any, rows: int) -> np.ndarray:
    """Convert rewards (one number for all rows, ``(rows,)`` or ``(rows, 1)``) to ``(rows,)`` float32, or ValueError."""
    earned = as_numbers(reward, np.float32, "reward")
    if earned.shape not in ((), (rows,), (rows, 1)):
        raise ValueError(f"rewards of shape {earned.shape}: takes one for each of {rows} observations, ({rows},)")
    return np.broadcast_to(earned.reshape(-1), rows)


def padded(rows: np.ndarray, count: int) -> np.ndarray:
    """Pad rows with zeros to ``(count, ...)``."""
    missing = count - len(rows)
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows
