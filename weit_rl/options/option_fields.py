"""How the options of a command are declared: a dataclass, each field with its type, default and one line of help.

An example::

    @dataclass
    class TrainOptions(Options):
        seed: int = option(0, "seed of weights, batches and environments")
        body: BodyOptions = group(BodyOptions)
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    Texts = str | list[str]
else:  # OmegaConf, which reads it when a command is given to Hydra, knows no union with a list
    Texts = Any

REQUIRED: Any = "???"  # the default of an option that must be given, as in Hydra
FIRST, LATER, LAST = range(3)


class Options(MutableMapping[str, Any]):
    """Options of a command or of a group of them, read as attributes or as items; there are no others than declared.

    Attributes:
        place: where ``--help`` shows the options that a class declares.
    """

    place: ClassVar[int] = FIRST

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _names(type(self)):
            raise AttributeError(f"{type(self).__name__} has no option {name!r}")
        super().__setattr__(name, value)

    def __getitem__(self, name: str) -> Any:
        if name not in _names(type(self)):
            raise KeyError(name)
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name}: options cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(_names(type(self)))

    def __len__(self) -> int:
        return len(_names(type(self)))


@functools.cache
def _names(options: type[Options]) -> dict[str, None]:
    """List the names of the options that a class has, in order."""
    return {field.name: None for field in dataclasses.fields(options)}  # type: ignore[arg-type]


def option(default: Any, help: str) -> Any:
    """Declare an option.

    Args:
        default: its value where no word names it; None means "not set", ``REQUIRED`` "must be given".
        help: one line for ``--help``.
    """
    metadata = {"help": help}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def group(options: type[Options]) -> Any:
    """Declare a group of options, whose names follow its own and a dot."""
    return dataclasses.field(default_factory=options)
