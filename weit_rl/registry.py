"""Names to things: what every plug-in (environment, model, task, initialiser, constraint) is added to."""

from __future__ import annotations

import difflib
from typing import Generic, TypeVar

from weit_rl.errors import UserError

T = TypeVar("T")


def unknown(kind: str, name: str, known: list[str], shown: list[str] | None = None) -> UserError:
    """The error for a name nobody registered: says the nearest and all possible ones, or a shorter list of them."""
    lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
    guess = f"; did you mean {lower[near[0]]}?" if near else ""
    return UserError(f"unknown {kind} {name!r}{guess} (possible: {', '.join(shown or known)})")


class Registry(Generic[T]):
    """A dictionary of named things of one kind that refuses duplicates and suggests the nearest name.

    Args:
        kind: what the things are, for error messages ("environment", "initializer").
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._things: dict[str, T] = {}

    def add(self, name: str, thing: T) -> T:
        """Register ``thing``; raises ValueError when the name is taken."""
        if name in self._things:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._things[name] = thing
        return thing

    def get(self, name: str) -> T:
        """The thing of that name; raises UserError with the nearest name when there is none."""
        if name not in self._things:
            raise unknown(self.kind, name, self.names())
        return self._things[name]

    def names(self) -> list[str]:
        """All names, in the order they were added."""
        return list(self._things)
