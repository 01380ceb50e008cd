"""Limits that a file must keep, ``2ms`` for a call or ``1MB`` on disk."""

from __future__ import annotations

import re
from dataclasses import dataclass

from weit_rl.common.errors import UserError

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20}
TIMES = ("us", "ms", "s")


@dataclass(frozen=True)
class Limit:
    """The most that something may be.

    Attributes:
        text: as the user wrote it.
        most: seconds, or bytes.
        of_time: which of the two.
    """

    text: str
    most: float
    of_time: bool

    @classmethod
    def parse(cls, text: str) -> Limit:
        """``2ms``, ``500us``, ``1MB``, ``300 kB``; raises UserError for anything else."""
        found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([a-z]+)", text.strip().lower())
        unit = found[2] if found else ""
        if not found or unit not in UNITS or not float(found[1]):
            raise UserError(f"limit={text}: must be a latency such as 2ms or 500us, or a size such as 1MB or 300kB")
        return cls(text, float(found[1]) * UNITS[unit], unit in TIMES)

    def keeps(self, seconds: float, size: int) -> bool:
        """Whether a file with that latency and size keeps it."""
        return (seconds if self.of_time else size) <= self.most
