"""Pictures of one episode: a grid of its frames, and a short animation."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 160  # approximate height of a kept frame, pixels
FRAMES, COLUMNS, CAPTION, GAP = 12, 4, 16, 2  # of a sheet; height of a caption and width of a gap in pixels
COLOURS = 96  # in the palette: frames have few colours, and the file becomes a third as large
MOVING, EVERY = 100, 2  # frames in an animation, and environment steps between two of them


@dataclass
class Film:
    """Small frames of one episode, with the step and the return at each.

    Attributes:
        frames: ``(height, width, 3)`` bytes each.
        steps: environment steps done before each frame.
        returns: sum of the rewards before each frame.
        fps: frames per second in real time.
    """

    fps: float = 30
    frames: list[np.ndarray] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)

    def add(self, frame: np.ndarray, step: int, earned: float) -> None:
        """Add a frame of any size, reduced."""
        from PIL import Image

        small = Image.fromarray(frame).reduce(max(1, round(frame.shape[0] / SIDE)))
        self.frames.append(np.asarray(small))
        self.steps.append(step)
        self.returns.append(earned)

    def spread(self, count: int) -> list[int]:
        """Return the indices of at most ``count`` frames, evenly spaced from the first to the last."""
        return np.unique(np.linspace(0, len(self.frames) - 1, count).round().astype(int)).tolist()


def contact_sheet(film: Film, count: int = FRAMES, columns: int = COLUMNS) -> bytes:
    """Draw a PNG of evenly spaced frames, each with its step and the return so far.

    Args:
        film: at least one frame.
        count: frames in the sheet (default 12); a shorter film has fewer.
        columns: frames per row (default 4).
    """
    from PIL import Image, ImageDraw

    chosen = film.spread(count)
    height, width = film.frames[0].shape[:2]
    cell = width + GAP, height + CAPTION + GAP
    columns = min(columns, len(chosen))
    sheet = Image.new("RGB", (columns * cell[0] - GAP, -(-len(chosen) // columns) * cell[1] - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for place, index in enumerate(chosen):
        x, y = place % columns * cell[0], place // columns * cell[1]
        sheet.paste(Image.fromarray(film.frames[index]), (x, y))
        caption = f"step {film.steps[index]}   return {film.returns[index]:,.0f}"
        draw.text((x + 3, y + height + 2), caption, fill="black")
    return _bytes(sheet.quantize(COLOURS), "PNG", optimize=True)


def animation(film: Film, count: int = MOVING, every: int = EVERY) -> bytes:
    """Draw an endless GIF of the beginning of the episode, in real time.

    Args:
        film: at least one frame.
        count: frames in the animation (default 100); a shorter film has fewer.
        every: environment steps between two frames (default 2).
    """
    from PIL import Image

    first, *rest = (Image.fromarray(frame).quantize(COLOURS) for frame in film.frames[: count * every : every])
    shown = round(1000 * every / film.fps)  # milliseconds
    return _bytes(first, "GIF", save_all=True, append_images=rest, duration=shown, loop=0)


def _bytes(image: Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
