"""Data sets of the Hugging Face hub, ``hf:NAME``, with the library ``datasets``; it runs no code of theirs.

The library keeps what it has fetched; naming such a set is asking for it, so it is fetched without ``download=true``.
"""

from __future__ import annotations

from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.data.images.decode import Reading
from weit_rl.data.images.parts import Item
from weit_rl.data.images.registry import SOURCES, Read, Source, missing
from weit_rl.data.images.set_warnings import listed, warn_line

PREFIX = "hf:"
SAFE = 4  # the first version of datasets that runs no code of a set
PARTS = {"train": "train", "validation": "held_out", "valid": "held_out", "val": "held_out", "test": "test"}


def read(data: str, how: Reading) -> Read:
    """Its splits; the columns are told by their types, one of images and one of class labels."""
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
    except Exception as error:  # of whatever the hub, the network or the files raise
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"data={data}: cannot be loaded ({reason}); check the name and the network") from error
    splits = {PARTS[name]: found[name] for name in found if name in PARTS}
    if "train" not in splits:
        raise UserError(f"data={data}: has the splits {', '.join(found)}, none called train; choose another data set")
    if "test" not in splits and "held_out" in splits:
        splits["test"] = splits.pop("held_out")
    image, label = _columns(data, splits["train"])
    _tell_others(data, [*found], splits["train"], (image, label))
    labelled = {part: rows for part, rows in splits.items() if _labelled(data, part, rows[label])}
    if "train" not in labelled:
        raise UserError(f"data={data}: its training images have no labels; choose another data set")
    parts = {part: how.part(_items(data, part, rows, image, label)) for part, rows in labelled.items()}
    info = splits["train"].info
    return Read(parts, splits["train"].features[label].names, getattr(info, "license", "") or "not stated")


def _tell_others(data: str, splits: list[str], rows: Any, taken: tuple[str, str]) -> None:
    """A line for splits that are not read, and for columns that might have been meant."""
    if others := [name for name in splits if name not in PARTS]:
        warn_line(f"data={data}: left out the splits {listed(others)}")
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    if others := [name for name, kind in kinds.items() if kind in ("Image", "ClassLabel") and name not in taken]:
        warn_line(f"data={data}: takes the columns {' and '.join(taken)}, not {listed(others)}")


def _labelled(data: str, part: str, labels: list[Any]) -> bool:
    """Whether a split has its labels; -1 are held back by its makers, and an empty split has none."""
    if None in labels:
        raise UserError(f"data={data}: some images of {part} have no label; choose another data set")
    return bool(labels) and min(labels) >= 0


def _columns(data: str, rows: Any) -> tuple[str, str]:
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    found = [next((name for name, kind in kinds.items() if kind == wanted), None) for wanted in ("Image", "ClassLabel")]
    if None in found:
        raise UserError(f"data={data}: needs a column of images and one of class labels; it has {kinds}")
    return found[0], found[1]  # type: ignore[return-value]


def _items(data: str, part: str, rows: Any, image: str, label: str) -> list[Item]:
    return [Item(f"image {data} {part} {i}", int(y), lambda i=i: rows[i][image]) for i, y in enumerate(rows[label])]  # type: ignore[misc]


SOURCES.add("huggingface", Source(lambda: [f"{PREFIX}NAME"], lambda data: data.startswith(PREFIX), read))
