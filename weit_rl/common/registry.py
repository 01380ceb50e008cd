"""Registries: environments, models, tasks, initialisers and all other plug-ins by name.

A member is one file of the registry's package, found without a list, or an entry point of another package.
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from weit_rl.common.errors import UserError

T = TypeVar("T")


def unknown_name_error(kind: str, name: str, known: list[str], shown: list[str] | None = None) -> UserError:
    """Return the error for an unregistered name, with the nearest name and all possible ones.

    Args:
        kind: what the name stands for, such as "environment".
        name: the unregistered name.
        known: all registered names.
        shown: names to list in the error instead (default: ``known``).
    """
    lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
    guess = f"; did you mean {lower[near[0]]}?" if near else ""
    return UserError(f"unknown {kind} {name!r}{guess} (possible: {', '.join(shown or known)})")


class Registry(Generic[T]):
    """A dictionary of named members of one kind; it refuses duplicates and suggests the nearest name.

    Args:
        kind: what the members are, for error messages ("environment", "initializer").
        package: the package whose files add members. The first look-up imports all of them except those whose name
            begins with ``_`` (default None: the importer adds members).
        group: the entry-point group by which other packages add members. Each entry point has the member's name and
            points to the member (default None: no group).
    """

    def __init__(self, kind: str, package: str | None = None, group: str | None = None):
        self.kind, self.package, self.group = kind, package, group
        self.members: dict[str, T] = {}
        self._loaded = False

    def add(self, name: str, member: T) -> T:
        """Register a member and return it.

        Raises:
            ValueError: if the name is taken.
        """
        if name in self.members:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self.members[name] = member
        return member

    def get(self, name: str) -> T:
        """Return the member of that name.

        Raises:
            UserError: if there is none, with the nearest name.
        """
        self.load()
        if name not in self.members and name in self._entry_points:
            self.add(name, self._entry_points[name].load())
        if name not in self.members:
            raise unknown_name_error(self.kind, name, self.names())
        return self.members[name]

    def names(self) -> list[str]:
        """Return all names: sorted if the package's files add them, since imports come in any order, else as added."""
        self.load()
        names = dict.fromkeys([*self.members, *self._entry_points])
        return sorted(names) if self.package else list(names)

    @contextmanager
    def temporarily(self, members: Mapping[str, T] | None = None) -> Iterator[None]:
        """Add members inside this context only; other additions made inside are undone at its end too.

        Args:
            members: the members by name (default: none).

        Raises:
            ValueError: if a name is taken.
        """
        self.load()
        before = dict(self.members)
        try:
            for name, member in (members or {}).items():
                self.add(name, member)
            yield
        finally:
            self.members.clear()
            self.members.update(before)

    def load(self, again: bool = False) -> None:
        """Import the files of the package, once.

        Args:
            again: look for files that came after the first time (default False).
        """
        if (self._loaded and not again) or self.package is None:
            return
        self._loaded = True  # before the imports, because an imported file may look a name up
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
