"""Registries: environments, models, tasks, initialisers and all other plug-ins by name.

A member is one file of the registry's package, which is found by itself, or an entry point of another package.
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from weit_rl.common.errors import UserError

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
        package: whose files add them. All are imported at the first look-up, but those whose name begins with ``_``
            (default None: whoever imports the registry adds to it).
        group: of the entry points by which other packages add more, each of the thing's name and pointing to the thing
            (default None: there are none).
    """

    def __init__(self, kind: str, package: str | None = None, group: str | None = None):
        self.kind, self.package, self.group = kind, package, group
        self._things: dict[str, T] = {}
        self._loaded = False

    def add(self, name: str, thing: T) -> T:
        """Register ``thing``; raises ValueError when the name is taken."""
        if name in self._things:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._things[name] = thing
        return thing

    def get(self, name: str) -> T:
        """Return the thing of that name; raises UserError with the nearest name when there is none."""
        self.load()
        if name not in self._things and name in self._entry_points:
            self.add(name, self._entry_points[name].load())
        if name not in self._things:
            raise unknown(self.kind, name, self.names())
        return self._things[name]

    def names(self) -> list[str]:
        """Return all names: sorted where files add them, since each may be imported first, else as they were added."""
        self.load()
        names = dict.fromkeys([*self._things, *self._entry_points])
        return sorted(names) if self.package else list(names)

    def load(self) -> None:
        """Import the files of the package, unless that was done."""
        if self._loaded or self.package is None:
            return
        self._loaded = True  # at once: a file that is imported may look a name up
        try:
            for module in pkgutil.iter_modules(import_module(self.package).__path__):
                if not module.name.startswith("_"):
                    import_module(f"{self.package}.{module.name}")
        except BaseException:
            self._loaded = False
            raise

    @cached_property
    def _entry_points(self) -> Mapping[str, EntryPoint]:
        return {one.name: one for one in entry_points(group=self.group)} if self.group else {}
