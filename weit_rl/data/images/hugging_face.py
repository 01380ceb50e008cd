"""Data sets of the Hugging Face hub, ``hf:NAME``, read by the library ``datasets`` without running their code.

The library keeps what it has downloaded. Naming such a set asks for the download, so ``download=true`` is not needed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.data.images.decode import ImageReader
from weit_rl.data.images.parts import LazyImage
from weit_rl.data.images.registry import SOURCES, ImageSource, SourceParts, missing
from weit_rl.data.images.set_warnings import listed, warn_line

PREFIX = "hf:"
SAFE = 4  # the first version of datasets that never runs a set's code
PARTS = {"train": "train", "validation": "held_out", "valid": "held_out", "val": "held_out", "test": "test"}


def read(data: str, reader: ImageReader) -> SourceParts:
    """Read the splits of a set; its columns of images and of class labels are found by their types."""
    try:
        import datasets
    except ImportError as error:
        raise missing(data, "datasets", error) from error
    if int(datasets.__version__.partition(".")[0]) < SAFE:
        raise UserError(
            f"data={data}: datasets {datasets.__version__} can run a set's own code; install {SAFE} or newer"
        )
    try:
        found = datasets.load_dataset(data.removeprefix(PREFIX))
    except Exception as error:  # the hub, the network and the files raise many kinds
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"data={data}: cannot be loaded ({reason}); check the name and the network") from error
    splits = {PARTS[name]: found[name] for name in found if name in PARTS}
    if "train" not in splits:
        raise UserError(f"data={data}: has the splits {', '.join(found)}, none called train; choose another data set")
    if "test" not in splits and "held_out" in splits:
        splits["test"] = splits.pop("held_out")
    image, label = _columns(data, splits["train"])
    _warn_of_others(data, [*found], splits["train"], (image, label))
    labelled = {part: rows for part, rows in splits.items() if _labelled(data, part, rows[label])}
    if "train" not in labelled:
        raise UserError(f"data={data}: its training images have no labels; choose another data set")
    parts = {part: reader.part(_items(data, part, rows, image, label)) for part, rows in labelled.items()}
    info = splits["train"].info
    return SourceParts(parts, splits["train"].features[label].names, getattr(info, "license", "") or "not stated")


def _warn_of_others(data: str, splits: list[str], rows: Any, taken: tuple[str, str]) -> None:
    """Warn of splits that are not read, and of columns that might have been meant."""
    if others := [name for name in splits if name not in PARTS]:
        warn_line(f"data={data}: left out the splits {listed(others)}")
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    if others := [name for name, kind in kinds.items() if kind in ("Image", "ClassLabel") and name not in taken]:
        warn_line(f"data={data}: takes the columns {' and '.join(taken)}, not {listed(others)}")


def _labelled(data: str, part: str, labels: list[Any]) -> bool:
    """Return True if a split has labels: -1 means that its makers hold them back, and an empty split has none."""
    if None in labels:
        raise UserError(f"data={data}: some images of {part} have no label; choose another data set")
    return bool(labels) and min(labels) >= 0


def _columns(data: str, rows: Any) -> tuple[str, str]:
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    found = [next((name for name, kind in kinds.items() if kind == wanted), None) for wanted in ("Image", "ClassLabel")]
    if None in found:
        raise UserError(f"data={data}: needs a column of images and one of class labels; it has {kinds}")
    return found[0], found[1]  # type: ignore[return-value]


def _items(data: str, part: str, rows: Any, image: str, label: str) -> list[LazyImage]:
    return [
        LazyImage(f"image {data} {part} {i}", int(y), partial(_image, rows, i, image))
        for i, y in enumerate(rows[label])
    ]


def _image(rows: Any, index: int, column: str) -> Any:
    return rows[index][column]


SOURCES.add("huggingface", ImageSource(lambda: [f"{PREFIX}NAME"], lambda data: data.startswith(PREFIX), read))
