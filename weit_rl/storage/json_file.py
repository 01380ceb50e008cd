"""JSON files that runs write, read with a distrust of what has become of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError


def read_json(path: Path) -> dict[str, Any]:
    """A mapping that a run wrote; UserError if it is damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")).items())
    except (OSError, ValueError, AttributeError, RecursionError) as error:  # AttributeError: no mapping
        raise UserError(f"{path}: was damaged; restore it or start anew in another run_dir") from error
