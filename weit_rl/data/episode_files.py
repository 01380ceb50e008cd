"""Reading of the episodes of a file or folder in any registered format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.data.episode import Episode
from weit_rl.data.formats import FORMATS, check_shapes, column
from weit_rl.data.isolated_reading import read_isolated

OWN = Path(__file__).resolve().parents[1] / "assets"  # files that ship with the package are trusted


def read_episodes(path: Path) -> tuple[list[Episode], dict[str, Any]]:
    """Read the episodes and the metadata of a file or folder, and add ``format`` to the metadata.

    Raises:
        UserError: if no format accepts the path, or the file is not complete.
    """
    formats = {name: FORMATS.get(name) for name in FORMATS.names()}
    try:
        name = next((name for name, one in formats.items() if one.accepts(path)), None)
    except OSError as error:
        raise UserError(f"data {path}: cannot read ({error.strerror}); give another path") from error
    if name is None:
        kinds = ", ".join(f"not a complete {one.what}" for one in formats.values())
        raise UserError(f"data {path}: {kinds}; give one of these, or record or download it again")
    apart = formats[name].native and not path.resolve().is_relative_to(OWN)
    episodes, info = read_isolated(name, path) if apart else formats[name].read(path)
    whole = [_whole(Episode(*episode), f"{path}, episode {number}") for number, episode in enumerate(episodes)]
    return whole, info | {"format": name}


def _whole(episode: Episode, where: str) -> Episode:
    check_shapes(episode.by_name, where)
    return episode._replace(rewards=column(episode.rewards))
