"""Bodies of other sizes by their names, such as ``HalfCheetah:limbs=0.75:torso=1.25``."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.envs.body_parameters import BODIES, parse_value
from weit_rl.envs.registry import ENV_FAMILIES, ENVS, EnvEntry


@dataclass(frozen=True)
class Body:
    """A body of one environment, described by its differences from the original.

    Attributes:
        env: the original's name.
        values: parameter -> value, only where it differs from the original, in alphabetical order.
    """

    env: str
    values: Mapping[str, float]

    @classmethod
    def of(cls, env: str, values: Mapping[str, Any]) -> Body:
        """Return the body of an environment with these values, numbers or texts.

        Raises:
            UserError: for a parameter that the environment does not have, or a value out of range.
        """
        numbers = {parameter: parse_value(env, parameter, values[parameter]) for parameter in sorted(values)}
        return cls(env, {name: n for name, n in numbers.items() if n != BODIES[env][name].default})

    @classmethod
    def parse(cls, name: str) -> Body:
        """Parse a name such as ``HalfCheetah:torso=1.25``, parameters in any order; raise UserError if it is wrong."""
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
        """Return the body of an id made by :attr:`gym_id`."""
        return cls.parse(re.sub(r"-([a-z]+)([\d.]+)", r":\1=\2", gym_id.removesuffix("-v5")))

    @property
    def name(self) -> str:
        """Return the unique name of this body; it is the original's name if nothing differs."""
        return ":".join([self.env, *(f"{parameter}={value:g}" for parameter, value in self.values.items())])

    @property
    def gym_id(self) -> str:
        """Return the name in the characters that Gymnasium allows in an id."""
        return f"{self.name.replace(':', '-').replace('=', '')}-v5"

    def value(self, parameter: str) -> float:
        """Return the value of a parameter, the original's if it does not differ."""
        return self.values.get(parameter, BODIES[self.env][parameter].default)


def with_body(env: str, given: Mapping[str, float | None]) -> str:
    """Add a body that options describe to the name of an environment.

    Args:
        env: name of an environment, which may describe a body itself.
        given: parameter -> value; None means that the option is not given.

    Raises:
        UserError: if the environment has no other bodies, or has no such body.
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
    """Return the entry of a body by its name; it is the original's entry if nothing differs."""
    body = Body.parse(name)
    original = ENVS.get(body.env)
    if not body.values:
        return original
    return EnvEntry.of(body.name, body.gym_id, "weit_rl.envs.body_environment:make", original.episode_steps)


for _env in BODIES:
    ENV_FAMILIES.add(_env, entry_of)
