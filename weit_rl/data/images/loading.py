"""Loading of a set of labelled images from any source, divided into three parts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.common.home import home
from weit_rl.common.registry import unknown_name_error
from weit_rl.data.images.decode import ImageReader
from weit_rl.data.images.image_set import SPLIT_SEED, Images
from weit_rl.data.images.parts import ImagesInMemory, ImagesOnDemand
from weit_rl.data.images.registry import SOURCES, ImageSource, SourceParts
from weit_rl.data.images.set_warnings import listed, warn_line

DEFAULT = "digits"
FAINT = 17  # grey levels of 256; a set with fewer is hard to see (12 bits stored in 16 have 16)
TEST, HELD_OUT = 0.2, 0.1  # shares of each class, if a source has no such parts
MOST_HELD_OUT = 10_000  # images taken from the training part for model selection


def load_images(
    data: str | os.PathLike = DEFAULT,
    image_size: int | None = None,
    channels: int | None = None,
    skip_corrupt: bool = False,
    root: str | os.PathLike | None = None,
    download: bool = False,
) -> Images:
    """Read a set of labelled images.

    Args:
        data: ``digits`` (default, scikit-learn's), a folder or a .zip in ImageFolder's layout, of images or of sounds
            (``speech.py``), the name of a torchvision data set such as ``CIFAR10``, or ``hf:NAME`` of the Hugging Face
            hub.
        image_size: edge in pixels to resize to: the shorter edge is scaled and the middle cropped (default: no
            resizing, and all images must be squares of one size).
        channels: 1 or 3, to convert to (default: no conversion, and all images must have the same number).
        skip_corrupt: leave out images that cannot be read (default: refuse the set and name the first; in a part that
            is decoded on demand, refuse the batch).
        root: the folder of torchvision's data sets (default: ``weit_rl/images`` in the user's cache).
        download: whether a missing set may be downloaded (default False).

    Raises:
        UserError: if there is no such set, a library for it is missing, it cannot be read, has no class folders, or has
            images of several shapes.
    """
    reader = ImageReader(image_size, channels, skip_corrupt, Path(root) if root else image_cache(), download)
    read = _source(str(data)).read(str(data), reader)
    _warn_of_missing_classes(str(data), read)
    _warn_if_faint(str(data), read.parts["train"])
    parts = _split(str(data), dict(read.parts))
    return Images(name_of(str(data)), tuple(read.classes), licence=read.licence, shifts=read.shifts, **parts)


def _warn_of_missing_classes(data: str, read: SourceParts) -> None:
    """Warn of each part that has no image of some classes, since these are not trained or not evaluated there."""
    for name, part in read.parts.items():
        counts = np.bincount(part.labels, minlength=len(read.classes))
        missing = [read.classes[label] for label in np.flatnonzero(counts == 0).tolist()]
        if len(part) and missing:
            warn_line(f"data {data}: {name} has no image of {listed(missing)}")


def _warn_if_faint(data: str, part: ImagesInMemory | ImagesOnDemand) -> None:
    """Warn of images that are nearly black all over, such as 12-bit images in 16-bit files, or masks."""
    if isinstance(part, ImagesInMemory) and len(part):
        low, high = int(part.pixels.min()), int(part.pixels.max())
        if high - low < FAINT:
            warn_line(f"data {data}: all pixels lie from {low} to {high} of 255; save the images with their full range")


def _source(data: str) -> ImageSource:
    """Return the source of a set: first one that has this name, then one that takes it as a path."""
    sources = [SOURCES.get(name) for name in SOURCES.names()]
    able = [source for source in sources if source.accepts(data)]
    if not able:
        raise unknown_name_error("data", data, [name for source in sources for name in source.names()])
    return min(able, key=lambda source: (data not in source.names(), source.any_path))


def _split(data: str, parts: dict[str, ImagesInMemory | ImagesOnDemand]) -> dict[str, ImagesInMemory | ImagesOnDemand]:
    """Return all three parts; a missing part is taken from the training images."""
    if not len(parts["train"]):
        raise UserError(f"data {data}: no image is left for train; give every class a few more")
    for name, share, most in (("test", TEST, 1.0), ("held_out", HELD_OUT, MOST_HELD_OUT / len(parts["train"]))):
        if name not in parts:
            taken = _of_each_class(parts["train"].labels, min(share, most))
            parts |= {name: parts["train"].subset(taken), "train": parts["train"].subset(~taken)}
    for name, part in parts.items():
        if not len(part):
            raise UserError(f"data {data}: no image is left for {name}; give every class a few more")
        shape, wanted = part.shape, parts["train"].shape
        if shape != wanted:
            have, other = ("x".join(map(str, one)) for one in (shape, wanted))
            raise UserError(f"data {data}: {name} has images of {have}, train of {other}; give image_size and channels")
    return parts


def _of_each_class(labels: np.ndarray, share: float) -> np.ndarray:
    """Return a mask of a share of each class, rounded, but at least one image of a class of two or more."""
    rng, mask = np.random.default_rng(SPLIT_SEED), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        mask[places[: max(round(share * len(places)), int(len(places) > 1))]] = True
    return mask


def name_of(data: str) -> str:
    """Return the name of a set, or of its folder or archive; raise UserError if there is no such set."""
    _source(data)
    return data if data.startswith("hf:") else Path(data).stem


def image_cache() -> Path:
    """Return the folder of torchvision's data sets, ``weit_rl/images`` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache") / "weit_rl" / "images"
