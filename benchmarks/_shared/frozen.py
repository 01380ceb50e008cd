"""Sizes, seeds, budgets and episodes that were fixed before any tuning (``frozen.yaml``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FROZEN: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "frozen.yaml").read_text())
