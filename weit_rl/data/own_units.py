"""Numbers of a data set brought into those of the environment here, by the spaces that the set was recorded in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.data.notices import notice
from weit_rl.data.recorded_spaces import Part, space_made, space_of
from weit_rl.data.recorded_wrappers import Recorded
from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.entry import EnvEntry
from weit_rl.errors import UserError

NEAR = 1e-4  # of the width of a bound: how far rounding may carry an action out of it, or one bound from another


@dataclass
class OwnUnits:
    """What a set says of its spaces, against the environment's.

    Attributes:
        actions: the box of the set's actions; None where it does not say.
        scaled: whether its actions are scaled from that box to [-1, 1], since the environment's is another.
        clips: whether a ClipAction brought them into the environment's bounds before they were done (default False).
    """

    actions: Part | None
    scaled: bool
    clips: bool = False

    @classmethod
    def of(cls, info: dict[str, Any], made: Recorded, entry: EnvEntry, path: Path) -> OwnUnits:
        """Take ``action_space`` and ``observation_space`` out of the metadata of a set, recorded in ``made``.

        A set with another action space than the environment's was recorded through a wrapper such as Gymnasium's
        RescaleAction, whose bounds are the environment's: that is the assumption.

        Raises:
            UserError: for spaces that say that its numbers mean something else; it names both.
        """
        seen, acts = (_said(info.pop(f"{kind}_space", None), kind, path) for kind in ("observation", "action"))
        if seen and not entry.pixels:
            _check_observations(seen, entry, path)
        return cls._of_actions(acts, made, entry, path) if acts else cls(None, scaled=False)

    @classmethod
    def _of_actions(cls, acts: dict[str, Part], made: Recorded, entry: EnvEntry, path: Path) -> OwnUnits:
        said, own = next(iter(acts.values())), entry.raw_spaces[1]
        ours = space_made(own)[""]
        if len(acts) == 1 and said.shape == ours.shape:
            if _alike(said, ours):
                return cls(said, scaled=False)
            if said.is_bounded:
                return cls(said, scaled=True)
            if "ClipAction" in made.wrappers and "RescaleAction" not in made.wrappers:
                return cls(said, scaled=False, clips=True)  # into the environment's own bounds
        raise UserError(
            f"data {path}: its action space is {_text(acts)}, and {entry.name}'s {_text({'': ours})}, so its actions "
            f"cannot be brought to [-1, 1]; use data of {entry.name}"
        )

    def unit(self, actions: np.ndarray, entry: EnvEntry, path: Path) -> np.ndarray:
        """``(steps, act)`` in [-1, 1] of the environment's bounds.

        Raises:
            UserError: for actions outside the box that they are to be scaled from.
        """
        if not self.scaled or self.actions is None:
            if self.actions is None and _looks_scaled(actions, entry.action_box):
                notice(
                    path,
                    f" does not say its action space; its actions reach from -1 to 1, and {entry.name}'s lie in "
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
    """Whether every action stops at -1 and 1, and the environment's bounds are all further out."""
    further = (box.low < -1 - NEAR).all() and (box.high > 1 + NEAR).all()
    return bool(further and actions.size and actions.min() == -1 and actions.max() == 1)


def _said(said: Any, kind: str, path: Path) -> dict[str, Part]:
    try:
        return {} if said is None else space_of(said)
    except ValueError as error:
        notice(path, f" names an {kind} space that is not understood, so it counts for nothing ({str(error)[:80]})")
        return {}


def _check_observations(seen: dict[str, Part], entry: EnvEntry, path: Path) -> None:
    """UserError for a Dict of other keys or sizes; a warning for other bounds, which some wrappers leave behind."""
    ours = space_made(entry.raw_spaces[0])
    sizes, wanted = ({name: part.size for name, part in space.items()} for space in (seen, ours))
    if len(seen) > 1 < len(ours) and sizes != wanted:
        raise UserError(
            f"data {path}: its observations hold {sizes}, and {entry.name}'s {wanted}; use data of {entry.name}"
        )
    if sum(sizes.values()) != sum(wanted.values()):
        return  # the arrays tell
    said, own = (Part((0,), *_ends(space)) for space in (seen, ours))
    both = np.isfinite([said.low, said.high, own.low, own.high]).all(axis=0)
    if (_away(said, own) & both).any():
        notice(
            path,
            f" says that its observations lie in {said}, and {entry.name}'s lie in {own}; check whether a wrapper "
            "scaled them",
        )


def _ends(space: dict[str, Part]) -> list[np.ndarray]:
    return [np.concatenate([getattr(part, end) for part in space.values()]) for end in ("low", "high")]


def _alike(one: Part, other: Part) -> bool:
    return not _away(one, other).any()


def _away(one: Part, other: Part) -> np.ndarray:
    """Of each number, whether its bounds differ by more than rounding."""
    with np.errstate(invalid="ignore"):
        width = np.where(np.isfinite(other.high - other.low), other.high - other.low, 1)
        pairs = [(one.low, other.low), (one.high, other.high)]
        near = [(a == b) | (np.abs(a - b) <= NEAR * np.maximum(width, NEAR)) for a, b in pairs]
    return ~(near[0] & near[1])


def _text(space: dict[str, Part]) -> str:
    return "; ".join(f"{name or 'Box'} {part} of shape {part.shape}" for name, part in space.items())[:200]
