"""ImageFolder's layout, ``CLASS/image`` or ``train/CLASS/image`` and ``test/CLASS/image``, as a folder or in a .zip.

Other kinds of files that become images lie in the same layout: each is a :class:`Kind`. Nothing is unpacked to disk.
What an archive says of itself is checked before anything is read, and what is read is never more than it said.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from weit_rl.data.images import SOURCES, Read, Source
from weit_rl.data.images.decode import FORMATS, Reading
from weit_rl.data.images.parts import Item
from weit_rl.errors import UserError

PARTS = {"train": "train", "training": "train", "val": "held_out", "valid": "held_out", "validation": "held_out",
         "test": "test", "testing": "test"}  # fmt: skip
MOST_FILE = 64 * 2**20  # bytes of a file in an archive
LICENCE = "not known (files of the user)"
Path_ = tuple[str, ...]
Files = Mapping[Path_, "str | Callable[[], Any]"]
"""By its path inside the set, a file's path on the disk, or what gives its bytes as an open file."""


class Kind(NamedTuple):
    """A kind of files.

    Attributes:
        noun: what one is called.
        suffixes: of their names, in lower case.
        open: the image that one is, given its path or an open file; raises whatever it likes for a damaged one.
    """

    noun: str
    suffixes: tuple[str, ...]
    open: Callable[[Any, Reading], Image.Image]

    @property
    def layout(self) -> str:
        """How they must lie."""
        place = f"CLASS/{self.noun.upper()}{self.suffixes[0]}"
        return f"lay them out as {place}, or as train/{place} and test/{place}"


SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
IMAGES = Kind("image", SUFFIXES, lambda file, how: Image.open(file, formats=FORMATS))


def accepts(data: str) -> bool:
    """An existing folder, or whatever is named as a .zip or written as a path."""
    written_as_path = "/" in data and not data.startswith("hf:")
    return written_as_path or Path(data).suffix.lower() == ".zip" or Path(data).expanduser().is_dir()


def holds(data: str, kind: Kind) -> bool:
    """Whether a folder or an archive that can be read has files of that kind."""
    path = Path(data).expanduser()
    try:
        return path.exists() and bool(_files(path, kind))
    except (UserError, OSError):
        return False


def read(data: str, how: Reading, kind: Kind = IMAGES) -> Read:
    """The files of a folder or an archive as images; class names are sorted, as torchvision sorts them."""
    path = Path(data).expanduser()
    if not path.exists():
        raise UserError(f"data {data}: there is no such file or folder; check the path")
    files = _files(path, kind)
    tree = _parts(data, sorted(_inside(list(files)).items()), kind)
    classes = sorted({name for members in tree.values() for name, _ in members})
    _check_classes(data, classes, tree, kind)
    labels = {name: label for label, name in enumerate(classes)}

    def item(name: str, path: Path_) -> Item:
        return Item(f"{kind.noun} {data}: {'/'.join(path)}", labels[name], partial(_open, files[path], kind, how))

    parts = {part: how.part([item(*member) for member in members]) for part, members in tree.items()}
    return Read(parts, classes, LICENCE)


def _open(file: str | Callable[[], Any], kind: Kind, how: Reading) -> Image.Image:
    return kind.open(file if isinstance(file, str) else file(), how)


def _inside(paths: list[Path_]) -> dict[Path_, Path_]:
    """Each path's places below the folders that all have in common, and the path itself."""
    short = {path: path for path in paths}
    while len({path[0] for path in short}) == 1 and min(map(len, short)) > 2:
        short = {path[1:]: whole for path, whole in short.items()}
    return short


def _parts(data: str, places: list[tuple[Path_, Path_]], kind: Kind) -> dict[str, list[tuple[str, Path_]]]:
    """By the part of the set, the class and the path of every file."""
    if not places:
        raise UserError(f"data {data}: holds no {kind.noun}s ({', '.join(kind.suffixes)}); {kind.layout}")
    above = {place[0] for place, _ in places}
    parts = {name for name in above if name.lower() in PARTS}
    divided = parts == above and all(len(place) > 1 for place, _ in places)
    if not divided and {"train", "training"} & {name.lower() for name in parts}:
        other = ", ".join(sorted(above - parts)) or "files"
        raise UserError(f"data {data}: has {other} beside {', '.join(sorted(parts))}; take that away; {kind.layout}")
    tree: dict[str, list[tuple[str, Path_]]] = {}
    for place, path in places:
        part, below = (PARTS[place[0].lower()], place[1:]) if divided else ("train", place)
        if len(below) < 2:
            raise UserError(f"data {data}: {'/'.join(path)} lies in no class folder; {kind.layout}")
        tree.setdefault(part, []).append((below[0], path))
    if "test" not in tree and "held_out" in tree:  # as ImageNet's
        tree["test"] = tree.pop("held_out")
    return tree


def _check_classes(data: str, classes: list[str], tree: Mapping[str, list[tuple[str, Path_]]], kind: Kind) -> None:
    if "train" not in tree:
        raise UserError(f"data {data}: has no folder train; {kind.layout}")
    if len(classes) < 2:
        raise UserError(f"data {data}: has the only class {classes[0]}; give two class folders or more; {kind.layout}")
    unseen = set(classes) - {name for name, _ in tree["train"]}
    if unseen:
        raise UserError(f"data {data}: class {min(unseen)} is in another part, but not in train; add some of it there")


def _files(path: Path, kind: Kind) -> Files:
    return _folder(path, kind) if path.is_dir() else _archive(path, kind)


def _folder(path: Path, kind: Kind) -> Files:
    found = (Path(folder, name) for folder, _, names in _walk(path) for name in names)
    wanted = (file for file in found if _wanted(file.relative_to(path).parts, kind))
    return {file.relative_to(path).parts: str(file) for file in wanted if file.is_file()}


def _walk(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """``os.walk`` through links as well, as torchvision goes, but into no folder that it is in already."""
    for folder, below, names in os.walk(path, followlinks=True):
        here = os.path.realpath(folder)
        below[:] = [name for name in below if not f"{here}{os.sep}".startswith(_whole(os.path.join(folder, name)))]
        yield folder, below, names


def _whole(path: str) -> str:
    return f"{os.path.realpath(path)}{os.sep}"


def _archive(path: Path, kind: Kind) -> Files:
    archive = Archive(path)
    try:
        members = archive.here().infolist()
    except Exception as error:  # BadZipFile, and whatever else zipfile stumbles over
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"data {path}: not a whole .zip ({reason}); copy it or make it again") from error
    entries = {_safe(path, entry): entry for entry in members if entry.filename and not entry.is_dir()}
    return {place: partial(archive.file, entry) for place, entry in entries.items() if _wanted(place, kind)}


class Archive:
    """A .zip that every process opens for itself: a file that was open before a fork has one place for all of them.

    Args:
        path: of the archive.
    """

    def __init__(self, path: Path):
        self.path, self._opened = path, dict[int, zipfile.ZipFile]()

    def here(self) -> zipfile.ZipFile:
        """As this process has it open."""
        if os.getpid() not in self._opened:
            self._opened = {os.getpid(): zipfile.ZipFile(self.path)}
        return self._opened[os.getpid()]

    def file(self, entry: zipfile.ZipInfo) -> io.BytesIO:
        """What is in a file, and never more than the archive said."""
        with self.here().open(entry) as file:
            return io.BytesIO(file.read(entry.file_size))


def _safe(archive: Path, entry: zipfile.ZipInfo) -> Path_:
    """The places of an entry's name; UserError for one that leads out of the archive, or for more than an image."""
    name = entry.filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or re.match("[A-Za-z]:", name):
        raise UserError(f"data {archive}: entry {entry.filename!r} leads out of the archive; use one that you trust")
    if entry.file_size > MOST_FILE:
        raise UserError(f"data {archive}: {name} is {entry.file_size} bytes, the most is {MOST_FILE}; leave it out")
    if entry.flag_bits & 1:
        raise UserError(f"data {archive}: {name} is encrypted; make the archive again without a password")
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _wanted(place: Path_, kind: Kind) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in place)
    return bool(place) and place[-1].lower().endswith(kind.suffixes) and not hidden


SOURCES.add("folder", Source(lambda: ["a folder or .zip of class folders"], accepts, read, any_path=True))
