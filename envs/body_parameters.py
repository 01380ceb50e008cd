"""Parameters in which the bodies of Gymnasium's environments may differ, with their ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error


@dataclass(frozen=True)
class Parameter:
    """A property in which a body may differ from the original.

    Attributes:
        about: a description.
        default: the original's value; an integer if only whole numbers make sense.
        least: smallest value.
        most: largest value.
    """

    about: str
    default: float = 1.0
    least: float = 0.5
    most: float = 2.0

    @property
    def wanted(self) -> str:
        """Describe the allowed values."""
        kind = "whole number" if isinstance(self.default, int) else "number"
        return f"a {kind} from {self.least:g} to {self.most:g}"


BODIES: dict[str, dict[str, Parameter]] = {
    "HalfCheetah": {
        "torso": Parameter("length of trunk and head, times the original's"),
        "limbs": Parameter("length of thighs, shins and feet, times the original's"),
        "segments": Parameter("parts of the trunk, a motor between every two", 1, 1, 6),
    },
    "Hopper": {
        "torso": Parameter("length of the torso, times the original's"),
        "limbs": Parameter("length of thigh, leg and foot, times the original's"),
    },
    "Walker2d": {
        "torso": Parameter("length of the torso, times the original's"),
        "limbs": Parameter("length of thighs, legs and feet, times the original's"),
    },
    "Ant": {
        "torso": Parameter("radius of the torso and distance of the hips from it, times the original's"),
        "limbs": Parameter("length of the legs, times the original's"),
        "legs": Parameter("legs, evenly around the torso, two motors each", 4, 3, 12),
    },
    "Swimmer": {
        "torso": Parameter("length of the first link, times the original's"),
        "limbs": Parameter("length of the other links, times the original's"),
        "links": Parameter("links, a motor between every two", 3, 2, 12),
    },
}
DECIMALS = 4  # kept in a length, so that a name describes the body exactly


def parse_value(env: str, parameter: str, value: Any) -> float:
    """Convert a parameter of an environment's body, a number or a text, to a number.

    Raises:
        UserError: for a parameter that the environment does not have, or a value out of range.
    """
    known = BODIES[env]
    if parameter not in known:
        others = [other for other, table in BODIES.items() if parameter in table]
        if others:
            raise UserError(f"body.{parameter}: is of {', '.join(others)}; {env} has {', '.join(known)}")
        raise unknown_name_error(f"parameter of {env}'s body", parameter, list(known))
    row = known[parameter]
    try:
        number = round(float(value), DECIMALS)
        if not row.least <= number <= row.most or (isinstance(row.default, int) and number % 1):
            raise ValueError(value)
    except ValueError as error:
        raise UserError(f"body.{parameter}={value}: must be {row.wanted} for {env}") from error
    return int(number) if isinstance(row.default, int) else number
