"""The size of a network, and the ladder of named sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error

HEAD_DIM = 32  # default channels of an attention head
DEEPEST = 4096  # blocks; a limit against corrupt or hostile files
WIDEST = 2**20  # channels; likewise


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
    head_dim: int = HEAD_DIM

    def __post_init__(self) -> None:
        if self.head_dim < 1:
            raise UserError(f"size={self.width}x{self.depth}x{self.head_dim}: heads must have 1 channel or more")
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
        return f"{self.width}x{self.depth}" + (f"x{self.head_dim}" if self.head_dim != HEAD_DIM else "")

    @classmethod
    def parse(cls, text: str, head_dim: int = HEAD_DIM) -> Size:
        """Parse a name ("small", "deit-ti") or a shape ("128x3", or "192x12x64" with the channels of a head).

        Args:
            text: value of an option.
            head_dim: channels of a head if the text does not give them (default 32).

        Raises:
            UserError: if the text is neither.
        """
        if text in PUBLISHED:
            return PUBLISHED[text]
        if text in LADDER:
            return replace(LADDER[text], head_dim=head_dim)
        numbers = text.split("x")
        if len(numbers) in (2, 3) and all(number.isdecimal() for number in numbers):
            width, depth, *heads = map(int, numbers)
            return cls(width, depth, *(heads or [head_dim]))
        raise unknown_name_error("size", text, [*LADDER, *PUBLISHED, "WIDTHxDEPTH"])


LADDER = {
    "tiny": Size(64, 2),
    "small": Size(128, 3),
    "base": Size(128, 6),
    "large": Size(192, 6),
    "xlarge": Size(256, 8),
}

PUBLISHED = {  # sizes of DeiT (arXiv 2012.12877) and DiT (arXiv 2212.09748)
    "deit-ti": Size(192, 12, 64),
    "deit-s": Size(384, 12, 64),
    "deit-b": Size(768, 12, 64),
    "dit-s": Size(384, 12, 64),
    "dit-b": Size(768, 12, 64),
    "dit-l": Size(1024, 24, 64),
    "dit-xl": Size(1152, 28, 72),
}
