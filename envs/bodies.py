"""Bodies of other sizes by their names, ``HalfCheetah:limbs=0.75:torso=1.25``."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.envs.body_parameters import BODIES, number_of
from weit_rl.envs.registry import ENVS, OPEN, EnvEntry


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
        numbers = {parameter: number_of(env, parameter, values[parameter]) for parameter in sorted(values)}
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


for _env in BODIES:
    OPEN.add(_env, entry_of)
