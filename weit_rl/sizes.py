"""Size of a network, and the ladder of named sizes (the only place where "small" has numbers)."""

from __future__ import annotations

from dataclasses import dataclass

from weit_rl.errors import UserError
from weit_rl.registry import unknown

DEEPEST = 4096  # blocks; nobody asks for more, but a file from a stranger may
WIDEST = 2**20  # channels


@dataclass(frozen=True, order=True)
class Size:
    """Width and depth of a network.

    Args:
        width: channels of the residual stream, a multiple of ``head_dim``.
        depth: number of blocks, at least 1.
        head_dim: channels of one attention head, the same at every width (default 32).

    Raises:
        UserError: if a number is out of its range.
    """

    width: int
    depth: int
    head_dim: int = 32

    def __post_init__(self) -> None:
        if self.head_dim < 1:
            raise UserError(f"head_dim={self.head_dim}: must be 1 or more")
        if self.width < self.head_dim or self.width % self.head_dim:
            low = max(self.width // self.head_dim, 1) * self.head_dim
            raise UserError(
                f"size.width={self.width}: must be a positive multiple of head_dim {self.head_dim}, "
                f"such as {low} or {low + self.head_dim}"
            )
        if self.depth < 1:
            raise UserError(f"size.depth={self.depth}: must be 1 or more")
        if self.depth > DEEPEST:
            raise UserError(f"size.depth={self.depth}: must be {DEEPEST} at most")
        if self.width > WIDEST:
            raise UserError(f"size.width={self.width}: must be {WIDEST} at most")

    def __str__(self) -> str:
        return f"{self.width}x{self.depth}"

    @classmethod
    def parse(cls, text: str) -> Size:
        """A ladder name ("small") or a shape ("128x3") as a Size."""
        if text in LADDER:
            return LADDER[text]
        width, cross, depth = text.partition("x")
        if cross and width.isdecimal() and depth.isdecimal():
            return cls(int(width), int(depth))
        raise unknown("size", text, [*LADDER, "WIDTHxDEPTH"])


LADDER = {
    "tiny": Size(64, 2),
    "small": Size(128, 3),
    "base": Size(128, 6),
    "large": Size(192, 6),
    "xlarge": Size(256, 8),
}
