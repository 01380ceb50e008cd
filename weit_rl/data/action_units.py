"""Conversion of a data set's actions to [-1, 1], by the spaces that the set was recorded in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.data.notices import notice
from weit_rl.data.recorded_spaces import SpaceBox, boxes_of_space, parse_space
from weit_rl.data.recorded_wrappers import RecordedEnv
from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.registry import EnvEntry

NEAR = 1e-4  # tolerance for rounding, as a share of the width of the bounds


@dataclass
class RecordedUnits:
    """The units of a data set's actions, compared with the environment's.

    Attributes:
        actions: the box of the set's actions; None if the set does not state it.
        scaled: True if the actions are scaled from that box to [-1, 1] because it differs from the environment's box.
        clips: True if a ClipAction wrapper clipped the actions to the environment's bounds (default False).
    """

    actions: SpaceBox | None
    scaled: bool
    clips: bool = False

    @classmethod
    def of(cls, info: dict[str, Any], made: RecordedEnv, entry: EnvEntry, path: Path) -> RecordedUnits:
        """Compare the spaces in a set's metadata with the environment's; they are taken out of the metadata.

        A set with another action space than the environment's was recorded through a wrapper such as Gymnasium's
        RescaleAction. Its bounds are assumed to stand for the environment's bounds.

        Args:
            info: metadata of the set, with ``action_space`` and ``observation_space`` if the set states them.
            made: the environment that the set was recorded in.
            entry: the environment here.
            path: the set, for messages.

        Raises:
            UserError: if the spaces show that the numbers have another meaning; it names both spaces.
        """
        seen, acts = (_parsed(info.pop(f"{kind}_space", None), kind, path) for kind in ("observation", "action"))
        if seen and not entry.pixels:
            _check_observations(seen, entry, path)
        return cls._of_actions(acts, made, entry, path) if acts else cls(None, scaled=False)

    @classmethod
    def _of_actions(cls, acts: dict[str, SpaceBox], made: RecordedEnv, entry: EnvEntry, path: Path) -> RecordedUnits:
        stated, own = next(iter(acts.values())), entry.raw_spaces[1]
        ours = boxes_of_space(own)[""]
        if len(acts) == 1 and stated.shape == ours.shape:
            if _alike(stated, ours):
                return cls(stated, scaled=False)
            if stated.is_bounded:
                return cls(stated, scaled=True)
            if "ClipAction" in made.wrappers and "RescaleAction" not in made.wrappers:
                return cls(stated, scaled=False, clips=True)  # into the environment's own bounds
        raise UserError(
            f"data {path}: its action space is {_text(acts)}, and {entry.name}'s {_text({'': ours})}, so its actions "
            f"cannot be brought to [-1, 1]; use data of {entry.name}"
        )

    def unit(self, actions: np.ndarray, entry: EnvEntry, path: Path) -> np.ndarray:
        """Convert actions ``(steps, act)`` to [-1, 1] of the environment's bounds.

        Raises:
            UserError: if actions lie outside the box that they are scaled from.
        """
        if not self.scaled or self.actions is None:
            if self.actions is None and _looks_scaled(actions, entry.action_box):
                notice(
                    path,
                    f" does not state its action space; its actions reach from -1 to 1, and {entry.name}'s lie in "
                    f"{entry.action_box}; if a wrapper scaled them, name its bounds there (action_low, action_high)",
                )
            unit = entry.action_box.unit(actions)
            return np.clip(unit, -1, 1) if self.clips else unit
        box = ActionBox(self.actions.low.astype(np.float32), self.actions.high.astype(np.float32))
        unit = box.unit(actions)
        if np.abs(unit).max(initial=0) > 1 + NEAR:
            raise UserError(
                f"data {path}: its action space is {self.actions}, but its actions reach from {actions.min():g} to "
                f"{actions.max():g}, and {entry.name}'s lie in {entry.action_box}; mend the space that it names"
            )
        return unit


def _looks_scaled(actions: np.ndarray, box: ActionBox) -> bool:
    """Return True if every action stops at -1 and 1 while the environment's bounds all lie further out."""
    further = (box.low < -1 - NEAR).all() and (box.high > 1 + NEAR).all()
    return bool(further and actions.size and actions.min() == -1 and actions.max() == 1)


def _parsed(stated: Any, kind: str, path: Path) -> dict[str, SpaceBox]:
    try:
        return {} if stated is None else parse_space(stated)
    except ValueError as error:
        notice(path, f" names an {kind} space that cannot be parsed and is ignored ({str(error)[:80]})")
        return {}


def _check_observations(seen: dict[str, SpaceBox], entry: EnvEntry, path: Path) -> None:
    """Raise UserError for a Dict of other keys or sizes; warn of other bounds, which some wrappers leave behind."""
    ours = boxes_of_space(entry.raw_spaces[0])
    sizes, wanted = ({name: part.size for name, part in space.items()} for space in (seen, ours))
    if len(seen) > 1 < len(ours) and sizes != wanted:
        raise UserError(
            f"data {path}: its observations hold {sizes}, and {entry.name}'s {wanted}; use data of {entry.name}"
        )
    if sum(sizes.values()) != sum(wanted.values()):
        return  # the sizes of the arrays are checked elsewhere
    stated, own = (SpaceBox((0,), *_ends(space)) for space in (seen, ours))
    both = np.isfinite([stated.low, stated.high, own.low, own.high]).all(axis=0)
    if (_away(stated, own) & both).any():
        notice(
            path,
            f" states that its observations lie in {stated}, and {entry.name}'s lie in {own}; check whether a wrapper "
            "scaled them",
        )


def _ends(space: dict[str, SpaceBox]) -> list[np.ndarray]:
    return [np.concatenate([getattr(part, end) for part in space.values()]) for end in ("low", "high")]


def _alike(one: SpaceBox, other: SpaceBox) -> bool:
    return not _away(one, other).any()


def _away(one: SpaceBox, other: SpaceBox) -> np.ndarray:
    """Return for each number whether its bounds differ by more than rounding."""
    with np.errstate(invalid="ignore"):
        width = np.where(np.isfinite(other.high - other.low), other.high - other.low, 1)
        pairs = [(one.low, other.low), (one.high, other.high)]
        near = [(a == b) | (np.abs(a - b) <= NEAR * np.maximum(width, NEAR)) for a, b in pairs]
    return ~(near[0] & near[1])


def _text(space: dict[str, SpaceBox]) -> str:
    return "; ".join(f"{name or 'Box'} {part} of shape {part.shape}" for name, part in space.items())[:200]
