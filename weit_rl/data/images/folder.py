"""ImageFolder's layout, ``CLASS/image`` or ``train/CLASS/image`` and ``test/CLASS/image``, as a folder or a .zip.

Other kinds of files that become images use the same layout; each kind is a :class:`FileKind`. Nothing is unpacked to
disk. What an archive declares is checked before anything is read, and no more is read than it declared.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.data.images.decode import PICTURE_FORMATS, ImageReader
from weit_rl.data.images.layout import FileKind, Files, FolderContent, InnerPath, check_classes, tree_of
from weit_rl.data.images.parts import LazyImage
from weit_rl.data.images.registry import SOURCES, ImageSource, SourceParts

MOST_FILE = 64 * 2**20  # bytes per file in an archive
LICENCE = "not known (files of the user)"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
UNREAD = (".heic", ".heif", ".avif", ".jfif", ".jpe", ".jp2", ".j2k", ".jxl", ".svg", ".tga", ".ico", ".eps", ".psd",
          ".exr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".dcm", ".pbm", ".pnm")  # fmt: skip
IMAGES = FileKind("image", SUFFIXES, lambda file, reader: Image.open(file, formats=PICTURE_FORMATS), UNREAD)
SYSTEM = ("thumbs.db", "desktop.ini")  # files that Windows puts into folders of pictures


def accepts(data: str) -> bool:
    """Return True for an existing folder, or a text that is named like a .zip or written like a path."""
    written_as_path = "/" in data and not data.startswith("hf:")
    return written_as_path or Path(data).suffix.lower() == ".zip" or expand_home(data).is_dir()


def holds(data: str, kind: FileKind) -> bool:
    """Return True if a readable folder or archive has files of that kind."""
    path = expand_home(data)
    try:
        return path.exists() and bool(_content(path, kind).files)
    except (UserError, OSError):
        return False


def read(data: str, reader: ImageReader, kind: FileKind = IMAGES) -> SourceParts:
    """Read the files of a folder or an archive as images; class names are sorted, as in torchvision."""
    path = expand_home(data)
    if not path.exists():
        raise UserError(f"data {data}: there is no such file or folder; check the path")
    content = _content(path, kind)
    tree, files = tree_of(data, content, kind), content.files
    classes = sorted({name for members in tree.values() for name, _ in members})
    check_classes(data, classes, tree, kind)
    labels = {name: label for label, name in enumerate(classes)}

    def item(name: str, path: InnerPath) -> LazyImage:
        return LazyImage(
            f"{kind.noun} {data}: {'/'.join(path)}", labels[name], partial(_open, files[path], kind, reader)
        )

    parts = {part: reader.part([item(*member) for member in members]) for part, members in tree.items()}
    return SourceParts(parts, classes, LICENCE)


def _open(file: str | Callable[[], Any], kind: FileKind, reader: ImageReader) -> Image.Image:
    return kind.open(file if isinstance(file, str) else file(), reader)


def _content(path: Path, kind: FileKind) -> FolderContent:
    return _folder(path, kind) if path.is_dir() else _archive(path, kind)


def _folder(path: Path, kind: FileKind) -> FolderContent:
    walked = [(Path(folder).relative_to(path).parts, names) for folder, _, names in _walk(path)]
    found = {(*folder, name): str(path.joinpath(*folder, name)) for folder, names in walked for name in names}
    there = {place: file for place, file in found.items() if os.path.isfile(file) or os.path.islink(file)}
    return _sorted_out(there, dict(walked), kind)  # a broken link is reported when it is read


def _sorted_out(found: Files, folders: Iterable[InnerPath], kind: FileKind) -> FolderContent:
    """Divide files into those of the kind and others, without hidden files."""
    seen = {place: file for place, file in found.items() if not _hidden(place)}
    files = {place: file for place, file in seen.items() if place[-1].lower().endswith(kind.suffixes)}
    return FolderContent(files, [place for place in seen if place not in files], {x for x in folders if not _hidden(x)})


def _hidden(place: InnerPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) or part.lower() in SYSTEM for part in place)


def _walk(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk a folder and follow links, as torchvision does, but not into a folder that contains the link."""
    for folder, below, names in os.walk(path, followlinks=True):
        here = os.path.realpath(folder)
        below[:] = [name for name in below if not f"{here}{os.sep}".startswith(_whole(os.path.join(folder, name)))]
        yield folder, below, names


def _whole(path: str) -> str:
    return f"{os.path.realpath(path)}{os.sep}"


def _archive(path: Path, kind: FileKind) -> FolderContent:
    archive = Archive(path)
    try:
        members = archive.here().infolist()
    except Exception as error:  # zipfile raises more than BadZipFile
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"data {path}: not a whole .zip ({reason}); copy it or make it again") from error
    places = {_safe(path, entry): entry for entry in members if entry.filename}
    entries = {place: entry for place, entry in places.items() if place and not entry.is_dir()}
    folders = {place[:end] for place in entries for end in range(len(place))} | {*places} - {*entries}
    return _sorted_out({place: partial(archive.file, entry) for place, entry in entries.items()}, folders, kind)


class Archive:
    """A .zip that every process opens for itself, since a file opened before a fork shares one read position.

    Args:
        path: of the archive.
    """

    def __init__(self, path: Path):
        self.path, self._opened = path, dict[int, zipfile.ZipFile]()

    def here(self) -> zipfile.ZipFile:
        """Return the archive as opened by this process."""
        if os.getpid() not in self._opened:
            self._opened = {os.getpid(): zipfile.ZipFile(self.path)}
        return self._opened[os.getpid()]

    def file(self, entry: zipfile.ZipInfo) -> io.BytesIO:
        """Read a member, and never more than the archive declared."""
        with self.here().open(entry) as file:
            return io.BytesIO(file.read(entry.file_size))


def _safe(archive: Path, entry: zipfile.ZipInfo) -> InnerPath:
    """Split a member's name into its path; raise UserError if it leads out of the archive, or is too large."""
    name = entry.filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or re.match("[A-Za-z]:", name):
        raise UserError(f"data {archive}: entry {entry.filename!r} leads out of the archive; use one that you trust")
    if entry.file_size > MOST_FILE:
        raise UserError(f"data {archive}: {name} is {entry.file_size} bytes, the most is {MOST_FILE}; leave it out")
    if entry.flag_bits & 1:
        raise UserError(f"data {archive}: {name} is encrypted; make the archive again without a password")
    return tuple(part for part in name.split("/") if part not in ("", "."))


SOURCES.add("folder", ImageSource(lambda: ["a folder or .zip of class folders"], accepts, read, any_path=True))
