"""The layout of a set, ``CLASS/file`` or ``train/CLASS/file``, and warnings of files that do not become images.

Folders called train, val or test are parts if they hold class folders. If one of them holds files and stands beside
other class folders, it is a class: ``train`` may stand beside ``bus``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from PIL import Image

from weit_rl.common.errors import UserError
from weit_rl.data.images.decode import ImageReader
from weit_rl.data.images.set_warnings import listed, warn_line

PARTS = {"train": "train", "training": "train", "val": "held_out", "valid": "held_out", "validation": "held_out",
         "test": "test", "testing": "test"}  # fmt: skip
InnerPath = tuple[str, ...]
Files = Mapping[InnerPath, "str | Callable[[], Any]"]
"""Path inside the set -> path on the disk, or a function that returns the file, opened."""
Tree = dict[str, list[tuple[str, InnerPath]]]
"""Part of a set -> class and path of every file."""


class FileKind(NamedTuple):
    """A kind of files that become images.

    Attributes:
        noun: the name of one file.
        suffixes: of their names, in lower case.
        open: returns the image of a file, given its path or an open file; may raise anything for a damaged file.
        alike: suffixes of files with the same content that cannot be read, so that leaving them out is a loss.
    """

    noun: str
    suffixes: tuple[str, ...]
    open: Callable[[Any, ImageReader], Image.Image]
    alike: tuple[str, ...] = ()

    @property
    def layout(self) -> str:
        """Return the required layout, for error messages."""
        place = f"CLASS/{self.noun.upper()}{self.suffixes[0]}"
        return f"lay them out as {place}, or as train/{place} and test/{place}"


class FolderContent(NamedTuple):
    """The content of a folder or an archive, by paths inside it, without hidden files.

    Attributes:
        files: files of the wanted kind.
        others: all other files.
        folders: all folders, empty ones too.
    """

    files: Files
    others: list[InnerPath]
    folders: set[InnerPath]


def tree_of(data: str, content: FolderContent, kind: FileKind) -> Tree:
    """Sort the files by part and class, and warn of all others.

    Raises:
        UserError: if the layout is another one, or a whole class or part cannot be read.
    """
    if not content.files:
        held = f", but {_counted(content.others)}" if content.others else ""
        raise UserError(f"data {data}: holds no {kind.noun}s ({', '.join(kind.suffixes)}){held}; {kind.layout}")
    above = _above(list(content.files))
    places = sorted((path[len(above) :], path) for path in content.files)
    divided = _divided(data, [place for place, _ in places], kind)
    _warn_of_lost_files(data, content, above, divided, kind)
    tree: Tree = {}
    for place, path in places:
        part, below = (PARTS[place[0].lower()], place[1:]) if divided else ("train", place)
        if len(below) < 2:
            raise UserError(f"data {data}: {'/'.join(path)} lies in no class folder; {kind.layout}")
        tree.setdefault(part, []).append((below[0], path))
    if "test" not in tree and "held_out" in tree:  # as in ImageNet
        tree["test"] = tree.pop("held_out")
    return tree


def check_classes(data: str, classes: list[str], tree: Tree, kind: FileKind) -> None:
    """Raise UserError for a set without training images, with a single class, or with classes missing in training."""
    if "train" not in tree:
        raise UserError(f"data {data}: has no folder train; {kind.layout}")
    if len(classes) < 2:
        raise UserError(f"data {data}: has the only class {classes[0]}; give two class folders or more; {kind.layout}")
    unseen = set(classes) - {name for name, _ in tree["train"]}
    if unseen:
        raise UserError(f"data {data}: class {min(unseen)} is in another part, but not in train; add some of it there")


def _above(paths: list[InnerPath]) -> InnerPath:
    """Return the folders that all files have in common, above the folders of parts or classes."""
    depth = 0
    while len({path[depth] for path in paths}) == 1 and min(map(len, paths)) > depth + 2:
        depth += 1
    return paths[0][:depth]


def _divided(data: str, places: list[InnerPath], kind: FileKind) -> bool:
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


def _warn_of_lost_files(data: str, content: FolderContent, above: InnerPath, divided: bool, kind: FileKind) -> None:
    """Warn of folders without images and of files between the images; raise UserError if a class or part is lost."""

    def depth(path: InnerPath) -> int:
        """Return how far a path lies below the folders of classes, 0 for such a folder."""
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
        warn_line(f"data {data}: no {kind.noun}s in {names}; these folders become no class or part")
    told = {path for others in named.values() for path in others}
    lost = [path for path in content.others if path not in told and (depth(path) > 0 or _alike(path, kind))]
    if lost:
        warn_line(f"data {data}: left out {_counted(lost)}, such as {'/'.join(lost[0])}")


def _without_files(content: FolderContent) -> dict[InnerPath, list[InnerPath]]:
    """Return the topmost folders that hold none of the files, and the other files in each."""
    full = {path[:end] for path in content.files for end in range(len(path))}
    inside: dict[InnerPath, list[InnerPath]] = {
        folder: [] for folder in sorted(content.folders - full) if folder[:-1] in full
    }
    for path in content.others:
        if folder := next((path[:end] for end in range(1, len(path)) if path[:end] in inside), None):
            inside[folder].append(path)
    return inside


def _alike(path: InnerPath, kind: FileKind) -> bool:
    return path[-1].lower().endswith(kind.alike)


def _counted(paths: list[InnerPath]) -> str:
    """Count files by suffix, most frequent first, as text."""
    counts = Counter(_suffix(path[-1]) for path in paths)
    return listed(f"{count} {suffix}" for suffix, count in counts.most_common())


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if stem and dot else "without a suffix"
