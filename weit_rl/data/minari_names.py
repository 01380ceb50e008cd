"""Names of Minari data sets, ``NAMESPACE/NAME-v0``, and the folder in which Minari finds them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from weit_rl.common.errors import UserError
from weit_rl.common.home import home

NAME = re.compile(r"((?:[-\w]+/)*)([-\w]+)-v(\d+)", re.ASCII)


def installed() -> Path:
    """Return the folder of the data sets that are installed on this machine."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or home() / ".minari" / "datasets")


def check_id(dataset_id: str | None) -> None:
    """Raise UserError for a name that Minari would not list."""
    from minari.dataset.minari_dataset import parse_dataset_id

    if dataset_id is None:
        return
    try:
        good = NAME.fullmatch(dataset_id) is not None and bool(parse_dataset_id(dataset_id))
    except ValueError:
        good = False
    if not good:
        raise UserError(
            f"dataset_id={dataset_id}: must be a name and a version of letters, digits, - and _, in namespaces or not; "
            "give one such as mine/hopper/expert-v0"
        )


def level_id(dataset_id: str | None, level: str) -> str | None:
    """Return the name of one level out of several: ``mine/hopper-v0`` gives ``mine/hopper/expert-v0``."""
    if dataset_id is None:
        return None
    name, version = dataset_id.rsplit("-v", 1)
    return f"{name}/{level}-v{version}"
