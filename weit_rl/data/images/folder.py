"""ImageFolder's layout, ``CLASS/image`` or ``train/CLASS/image`` and ``test/CLASS/image``, as a folder or in a .zip.

Nothing is unpacked to disk. What an archive says of itself is checked before anything is read, and what is read is
never more than it said.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from weit_rl.data.images import SOURCES, Read, Source
from weit_rl.data.images.decode import FORMATS, Item, Reading
from weit_rl.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
PARTS = {"train": "train", "training": "train", "val": "held_out", "valid": "held_out", "validation": "held_out",
         "test": "test", "testing": "test"}  # fmt: skip
LAYOUT = "lay them out as CLASS/IMAGE.jpg, or as train/CLASS/IMAGE.jpg and test/CLASS/IMAGE.jpg"
MOST_FILE = 64 * 2**20  # bytes of a file in an archive
LICENCE = "not known (files of the user)"
Path_ = tuple[str, ...]
Files = Mapping[Path_, Callable[[], Any]]
"""By its path inside the set, what gives a file that PIL can open."""


def accepts(data: str) -> bool:
    """An existing folder, or whatever is named as a .zip or written as a path."""
    written_as_path = "/" in data and not data.startswith("hf:")
    return written_as_path or Path(data).suffix.lower() == ".zip" or Path(data).expanduser().is_dir()


def read(data: str, how: Reading) -> Read:
    """The images of a folder or an archive; class names are sorted, as torchvision sorts them."""
    path = Path(data).expanduser()
    if not path.exists():
        raise UserError(f"data {data}: there is no such file or folder; check the path")
    with _folder(path) if path.is_dir() else _archive(path) as files:
        tree = _parts(data, sorted(_inside(list(files)).items()))
        classes = sorted({name for members in tree.values() for name, _ in members})
        _check_classes(data, classes, tree)
        parts = {part: how.part(_items(data, members, classes, files)) for part, members in tree.items()}
    return Read(parts, classes, LICENCE)


def _items(data: str, members: list[tuple[str, Path_]], classes: list[str], files: Files) -> list[Item]:
    def open_image(path: Path_) -> Image.Image:
        return Image.open(files[path](), formats=FORMATS)

    return [Item(f"{data}: {'/'.join(path)}", classes.index(name), partial(open_image, path)) for name, path in members]


def _inside(paths: list[Path_]) -> dict[Path_, Path_]:
    """Each path's places below the folders that all have in common, and the path itself."""
    short = {path: path for path in paths}
    while len({path[0] for path in short}) == 1 and min(map(len, short)) > 2:
        short = {path[1:]: whole for path, whole in short.items()}
    return short


def _parts(data: str, places: list[tuple[Path_, Path_]]) -> dict[str, list[tuple[str, Path_]]]:
    """By the part of the set, the class and the path of every file."""
    if not places:
        raise UserError(f"data {data}: holds no images ({', '.join(SUFFIXES)}); {LAYOUT}")
    divided = all(place[0].lower() in PARTS for place, _ in places) and all(len(place) > 1 for place, _ in places)
    tree: dict[str, list[tuple[str, Path_]]] = {}
    for place, path in places:
        part, below = (PARTS[place[0].lower()], place[1:]) if divided else ("train", place)
        if len(below) < 2:
            raise UserError(f"data {data}: {'/'.join(path)} lies in no class folder; {LAYOUT}")
        tree.setdefault(part, []).append((below[0], path))
    if "test" not in tree and "held_out" in tree:  # as ImageNet's
        tree["test"] = tree.pop("held_out")
    return tree


def _check_classes(data: str, classes: list[str], tree: Mapping[str, list[tuple[str, Path_]]]) -> None:
    if "train" not in tree:
        raise UserError(f"data {data}: has no folder train; {LAYOUT}")
    if len(classes) < 2:
        raise UserError(f"data {data}: has the only class {classes[0]}; give two class folders or more; {LAYOUT}")
    unseen = set(classes) - {name for name, _ in tree["train"]}
    if unseen:
        raise UserError(
            f"data {data}: class {min(unseen)} is in another part, but not in train; add images of it there"
        )


@contextmanager
def _folder(path: Path) -> Iterator[Files]:
    found = (file for file in path.rglob("*") if _wanted(file.relative_to(path).parts))
    yield {file.relative_to(path).parts: lambda file=file: file for file in found if file.is_file()}  # type: ignore[misc]


@contextmanager
def _archive(path: Path) -> Iterator[Files]:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # BadZipFile, and whatever else zipfile stumbles over
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"data {path}: not a whole .zip ({reason}); copy it or make it again") from error
    with archive:
        files = [entry for entry in archive.infolist() if entry.filename and not entry.is_dir()]
        entries = {_safe(path, entry): entry for entry in files}
        yield {
            place: lambda entry=entry: io.BytesIO(_bytes(archive, entry))  # type: ignore[misc]
            for place, entry in entries.items()
            if _wanted(place)
        }


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


def _bytes(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        return file.read(entry.file_size)


def _wanted(place: Path_) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in place)
    return bool(place) and place[-1].lower().endswith(SUFFIXES) and not hidden


SOURCES.add("folder", Source(lambda: ["a folder or .zip of class folders"], accepts, read))
