"""Bodies of other sizes: what may differ, and their names, ``HalfCheetah:limbs=0.75:torso=1.25``."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weit_rl.envs.entry import ENVS, OPEN, EnvEntry
from weit_rl.errors import UserError
from weit_rl.registry import unknown


@dataclass(frozen=True)
class Parameter:
    """One thing in which a body may differ from the original.

    Attributes:
        about: what it is.
        default: the original's; an integer where only whole numbers make sense.
        least: smallest value.
        most: largest value.
    """

    about: str
    default: float = 1.0
    least: float = 0.5
    most: float = 2.0

    @property
    def wanted(self) -> str:
        """What a value must be."""
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
DECIMALS = 4  # of a length that are kept, so that a name says all there is


@dataclass(frozen=True)
class Body:
    """A body: which one, and how it differs.

    Attributes:
        env: the original's name.
        values: parameter -> value, without those that are the original's, in the order of the alphabet.
    """

    env: str
    values: Mapping[str, float]

    @classmethod
    def of(cls, env: str, values: Mapping[str, Any]) -> Body:
        """The body of an environment with these values, numbers or texts.

        Raises:
            UserError: for a parameter that it does not have, or a value out of range.
        """
        numbers = {parameter: _number(env, parameter, values[parameter]) for parameter in sorted(values)}
        return cls(env, {name: n for name, n in numbers.items() if n != BODIES[env][name].default})

    @classmethod
    def parse(cls, name: str) -> Body:
        """The body of a name such as ``HalfCheetah:torso=1.25``, in any order; UserError if there is none."""
        env, *words = name.split(":")
        values: dict[str, str] = {}
        for word in words:
            parameter, equals, text = word.partition("=")
            if not equals or parameter in values:
                raise UserError(f"env {name}: {word!r} is not PARAMETER=NUMBER, each once, as in {env}:limbs=0.75")
            values[parameter] = text
        return cls.of(env, values)

    @classmethod
    def of_id(cls, gym_id: str) -> Body:
        """The body of an id that :attr:`gym_id` gave."""
        return cls.parse(re.sub(r"-([a-z]+)([\d.]+)", r":\1=\2", gym_id.removesuffix("-v5")))

    @property
    def name(self) -> str:
        """The one name of this body; the original's own where nothing differs."""
        return ":".join([self.env, *(f"{parameter}={value:g}" for parameter, value in self.values.items())])

    @property
    def gym_id(self) -> str:
        """The name in the letters that Gymnasium allows."""
        return f"{self.name.replace(':', '-').replace('=', '')}-v5"

    def value(self, parameter: str) -> float:
        """Of a parameter, the original's where it does not differ."""
        return self.values.get(parameter, BODIES[self.env][parameter].default)


def with_body(env: str, given: Mapping[str, float | None]) -> str:
    """The name of an environment with the body that options describe.

    Args:
        env: environment by name, which may describe a body itself.
        given: parameter -> value; None is not given.

    Raises:
        UserError: for an environment without other bodies, or what is no body of it.
    """
    values = {parameter: value for parameter, value in given.items() if value is not None}
    if env.partition(":")[0] in BODIES:
        named = Body.parse(env)
        return Body.of(named.env, {**named.values, **values}).name
    if values:
        raise UserError(f"body.{next(iter(values))}: env={env} has one body only; others have {', '.join(BODIES)}")
    return env


@functools.cache
def entry_of(name: str) -> EnvEntry:
    """The entry of a body by its name: the original's own where nothing differs."""
    body = Body.parse(name)
    original = ENVS.get(body.env)
    if not body.values:
        return original
    return EnvEntry.of(body.name, body.gym_id, "weit_rl.envs.body_environment:make", original.episode_steps)


def _number(env: str, parameter: str, value: Any) -> float:
    known = BODIES[env]
    if parameter not in known:
        others = [other for other, table in BODIES.items() if parameter in table]
        if others:
            raise UserError(f"body.{parameter}: is of {', '.join(others)}; {env} has {', '.join(known)}")
        raise unknown(f"parameter of {env}'s body", parameter, list(known))
    row = known[parameter]
    try:
        number = round(float(value), DECIMALS)
        if not row.least <= number <= row.most or (isinstance(row.default, int) and number % 1):
            raise ValueError(value)
    except ValueError as error:
        raise UserError(f"body.{parameter}={value}: must be {row.wanted} for {env}") from error
    return int(number) if isinstance(row.default, int) else number


for _env in BODIES:
    OPEN.add(_env, entry_of)
