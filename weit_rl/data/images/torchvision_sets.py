"""torchvision's data sets by their names, from a folder of this machine or downloaded.

Some of them (CIFAR) are pickled; torchvision compares their checksums with its own before it reads them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.data.images.decode import ImageReader
from weit_rl.data.images.parts import LazyImage
from weit_rl.data.images.registry import SOURCES, ImageSource, SourceParts, missing

BY_FLAG = {"train": {"train": True}, "test": {"train": False}}
BY_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
THREE = {"train": {"split": "train"}, "held_out": {"split": "val"}, "test": {"split": "test"}}
VALIDATED = {"train": {"split": "train"}, "test": {"split": "val"}}
SETS: dict[str, tuple[dict[str, dict[str, Any]], str]] = {  # arguments of each part, and the licence
    "MNIST": (BY_FLAG, "CC BY-SA 3.0"),
    "FashionMNIST": (BY_FLAG, "MIT"),
    "KMNIST": (BY_FLAG, "CC BY-SA 4.0"),
    "USPS": (BY_FLAG, "not stated"),
    "CIFAR10": (BY_FLAG, "not stated"),
    "CIFAR100": (BY_FLAG, "not stated"),
    "SVHN": (BY_SPLIT, "non-commercial use"),
    "STL10": (BY_SPLIT, "not stated"),
    "GTSRB": (BY_SPLIT, "not stated"),
    "Flowers102": (THREE, "not stated"),
    "Food101": (BY_SPLIT, "not stated"),
    "Imagenette": (VALIDATED, "ImageNet's: non-commercial research"),
    "ImageNet": (VALIDATED, "non-commercial research"),
}
NO_DOWNLOAD = ("ImageNet",)


def read(data: str, reader: ImageReader) -> SourceParts:
    """Read the set's own parts."""
    arguments, licence = SETS[data]
    try:
        from torchvision import datasets
    except ImportError as error:
        raise missing(data, "torchvision", error) from error
    parts = {part: _open(getattr(datasets, data), data, reader, words) for part, words in arguments.items()}
    items = {part: _items(data, part, dataset) for part, dataset in parts.items()}
    return SourceParts(
        {part: reader.part(own) for part, own in items.items()}, _classes(parts["train"], items["train"]), licence
    )


def _open(kind: Any, data: str, reader: ImageReader, words: dict[str, Any]) -> Any:
    asked = {} if data in NO_DOWNLOAD else {"download": reader.download}
    try:
        if reader.download:
            reader.root.mkdir(parents=True, exist_ok=True)
        return kind(str(reader.root), **words, **asked)
    except Exception as error:  # torchvision, archives and the network raise many kinds
        reason = " ".join(str(error).split())[:200]
        if reader.download and data not in NO_DOWNLOAD:
            raise UserError(
                f"data={data}: cannot be put into {reader.root} ({reason}); give data_root=FOLDER that can be written, "
                "or that holds it"
            ) from error
        how_to = f"see torchvision.datasets.{data}" if data in NO_DOWNLOAD else "add download=true"
        raise UserError(
            f"data={data}: not in {reader.root} ({reason}); {how_to}, or give data_root=FOLDER it lies in"
        ) from error


def _items(data: str, part: str, dataset: Any) -> list[LazyImage]:
    labels = next((getattr(dataset, name) for name in ("targets", "labels", "_labels") if hasattr(dataset, name)), None)
    if labels is None:  # lists of pairs of a path and a label
        labels = [label for _, label in getattr(dataset, "_samples", None) or dataset.samples]
    return [
        LazyImage(f"image {data} {part} {i}", int(label), partial(_image, dataset, i)) for i, label in enumerate(labels)
    ]


def _image(dataset: Any, index: int) -> Any:
    return dataset[index][0]


def _classes(dataset: Any, items: list[LazyImage]) -> list[str]:
    names = getattr(dataset, "classes", None) or [str(label) for label in range(max(item.label for item in items) + 1)]
    return [name if isinstance(name, str) else ", ".join(name) for name in names]


SOURCES.add("torchvision", ImageSource(lambda: list(SETS), lambda data: data in SETS, read))
