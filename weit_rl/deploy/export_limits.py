"""Read the limits of an exported file: latency, such as ``2ms``, or size, such as ``1MB``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from weit_rl.common.errors import UserError

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20}
TIMES = ("us", "ms", "s")


@dataclass(frozen=True)
class Limit:
    """An upper limit of an exported file's latency or size.

    Attributes:
        text: as the user wrote it.
        most: the limit in seconds or bytes.
        of_time: True for seconds.
    """

    text: str
    most: float
    of_time: bool

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read a limit such as ``2ms``, ``500us``, ``1MB`` or ``300 kB``; UserError for anything else."""
        found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([a-z]+)", text.strip().lower())
        unit = found[2] if found else ""
        if not found or unit not in UNITS or not float(found[1]):
            raise UserError(f"limit={text}: must be a latency such as 2ms or 500us, or a size such as 1MB or 300kB")
        return cls(text, float(found[1]) * UNITS[unit], unit in TIMES)

    def keeps(self, seconds: float, size: int) -> bool:
        """Return True if a file of that latency and size is within the limit."""
        return (seconds if self.of_time else size) <= self.most
