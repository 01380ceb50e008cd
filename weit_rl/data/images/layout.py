"""The layout of a set, ``CLASS/file`` or ``train/CLASS/file``, and warnings of files that become no image.

Folders called train, val or test are parts where they hold class folders. One that holds files, beside other class
folders, is a class like these: trains stand beside buses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from PIL import Image

from weit_rl.common.errors import UserError
from weit_rl.data.images.decode import Reading
from weit_rl.data.images.set_warnings import listed, warn_line

PARTS = {"train": "train", "training": "train", "val": "held_out", "valid": "held_out", "validation": "held_out",
         "test": "test", "testing": "test"}  # fmt: skip
Path_ = tuple[str, ...]
Files = Mapping[Path_, "str | Callable[[], Any]"]
"""By its path inside the set, a file's path on the disk, or what gives its bytes as an open file."""
Tree = dict[str, list[tuple[str, Path_]]]
"""By the part of a set, the class and the path of every file."""


class Kind(NamedTuple):
    """A kind of files.

    Attributes:
        noun: what one is called.
        suffixes: of their names, in lower case.
        open: the image that one is, given its path or an open file; raises whatever it likes for a damaged one.
        alike: suffixes of files that show the same but cannot be read, so that leaving them out is a loss.
    """

    noun: str
    suffixes: tuple[str, ...]
    open: Callable[[Any, Reading], Image.Image]
    alike: tuple[str, ...] = ()

    @property
    def layout(self) -> str:
        """How they must lie."""
        place = f"CLASS/{self.noun.upper()}{self.suffixes[0]}"
        return f"lay them out as {place}, or as train/{place} and test/{place}"


class Content(NamedTuple):
    """The content of a folder or an archive, by paths inside it; hidden things are left out.

    Attributes:
        files: of the kind that is looked for.
        others: all other files.
        folders: all folders, empty ones too.
    """

    files: Files
    others: list[Path_]
    folders: set[Path_]


def tree_of(data: str, content: Content, kind: Kind) -> Tree:
    """Sort the files by part and class, and warn of all others.

    Raises:
        UserError: if they lie otherwise, or a class or part would be lost with files that cannot be read.
    """
    if not content.files:
        held = f", but {_counted(content.others)}" if content.others else ""
        raise UserError(f"data {data}: holds no {kind.noun}s ({', '.join(kind.suffixes)}){held}; {kind.layout}")
    above = _above(list(content.files))
    places = sorted((path[len(above) :], path) for path in content.files)
    divided = _divided(data, [place for place, _ in places], kind)
    _tell_lost(data, content, above, divided, kind)
    tree: Tree = {}
    for place, path in places:
        part, below = (PARTS[place[0].lower()], place[1:]) if divided else ("train", place)
        if len(below) < 2:
            raise UserError(f"data {data}: {'/'.join(path)} lies in no class folder; {kind.layout}")
        tree.setdefault(part, []).append((below[0], path))
    if "test" not in tree and "held_out" in tree:  # as ImageNet's
        tree["test"] = tree.pop("held_out")
    return tree


def check_classes(data: str, classes: list[str], tree: Tree, kind: Kind) -> None:
    """UserError for a set without training images, with a single class, or with classes that cannot be learned."""
    if "train" not in tree:
        raise UserError(f"data {data}: has no folder train; {kind.layout}")
    if len(classes) < 2:
        raise UserError(f"data {data}: has the only class {classes[0]}; give two class folders or more; {kind.layout}")
    unseen = set(classes) - {name for name, _ in tree["train"]}
    if unseen:
        raise UserError(f"data {data}: class {min(unseen)} is in another part, but not in train; add some of it there")


def _above(paths: list[Path_]) -> Path_:
    """The folders that all have in common, above those of parts or classes."""
    depth = 0
    while len({path[depth] for path in paths}) == 1 and min(map(len, paths)) > depth + 2:
        depth += 1
    return paths[0][:depth]


def _divided(data: str, places: list[Path_], kind: Kind) -> bool:
    """Return True if the first folders are parts, False if classes; UserError if they are both."""
    first = {place[0] for place in places}
    parts = {name for name in first if name.lower() in PARTS}
    if parts == first and all(len(place) > 1 for place in places):
        return True
    a_class = len(parts) == 1 and all(len(place) == 2 for place in places if place[0] in parts)
    if not a_class and {"train", "training"} & {name.lower() for name in parts}:
        other = listed(sorted(first - parts)) or "files"
        raise UserError(f"data {data}: has {other} beside {', '.join(sorted(parts))}; take that away; {kind.layout}")
    return False


def _tell_lost(data: str, content: Content, above: Path_, divided: bool, kind: Kind) -> None:
    """Warn of folders that give no class or part, and of files between the images; UserError for a loss."""

    def depth(path: Path_) -> int:
        """How far a path lies below the folders of classes; 0 for one of these."""
        in_part = divided and path[len(above)].lower() in PARTS if len(path) > len(above) else False
        return len(path) - len(above) - 1 - in_part

    inside = _without_files(content)
    for folder, others in inside.items():
        expected = depth(folder) == 0 or (depth(folder) < 0 and folder[-1].lower() in PARTS)
        if expected and any(_alike(path, kind) for path in others):
            raise UserError(
                f"data {data}: {'/'.join(folder)} holds no {kind.noun} that can be read, but {_counted(others)}; "
                f"convert them to {kind.suffixes[0]}, or take the folder away"
            )
    named = {folder: others for folder, others in inside.items() if depth(folder) <= 0}
    if named:
        names = listed("/".join(path) + (f" ({_counted(held)})" if held else "") for path, held in named.items())
        warn_line(f"data {data}: no {kind.noun}s in {names}: no class or part is made of that")
    told = {path for others in named.values() for path in others}
    lost = [path for path in content.others if path not in told and (depth(path) > 0 or _alike(path, kind))]
    if lost:
        warn_line(f"data {data}: left out {_counted(lost)}, such as {'/'.join(lost[0])}")


def _without_files(content: Content) -> dict[Path_, list[Path_]]:
    """The topmost folders that hold none of the files, and what else each of them holds."""
    full = {path[:end] for path in content.files for end in range(len(path))}
    inside: dict[Path_, list[Path_]] = {folder: [] for folder in sorted(content.folders - full) if folder[:-1] in full}
    for path in content.others:
        if folder := next((path[:end] for end in range(1, len(path)) if path[:end] in inside), None):
            inside[folder].append(path)
    return inside


def _alike(path: Path_, kind: Kind) -> bool:
    return path[-1].lower().endswith(kind.alike)


def _counted(paths: list[Path_]) -> str:
    """How many files there are of which suffixes, most frequent ones first."""
    counts = Counter(_suffix(path[-1]) for path in paths)
    return listed(f"{count} {suffix}" for suffix, count in counts.most_common())


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if stem and dot else "without a suffix"
