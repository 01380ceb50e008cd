"""JSON files of runs, which may have been damaged since they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError


def read_json(path: Path) -> dict[str, Any]:
    """Read a mapping that a run wrote.

    Raises:
        UserError: if the file is missing, damaged or holds no mapping.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")).items())
    except (OSError, ValueError, AttributeError, RecursionError) as error:  # AttributeError: no mapping
        raise UserError(f"{path}: was damaged; restore it or start again in another run_dir") from error
