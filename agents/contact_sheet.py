"""One episode at a glance: a grid of its frames as a picture, and a short animation."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 160  # pixels, about the height of a kept frame
FRAMES, COLUMNS, CAPTION, GAP = 12, 4, 16, 2  # of a sheet; a caption and a gap in pixels
COLOURS = 96  # of a sheet's palette: a frame has few, and the file becomes a third as large
MOVING, EVERY = 100, 2  # frames of an animation, and steps between two of them


@dataclass
class Film:
    """Small frames of one episode with what had happened before each.

    Attributes:
        frames: ``(height, width, 3)`` bytes each.
        steps: environment steps done before each frame.
        returns: sum of the rewards before each frame.
        fps: frames a second at which it moves as in life.
    """

    fps: float = 30
    frames: list[np.ndarray] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)

    def add(self, frame: np.ndarray, step: int, earned: float) -> None:
        """Keep a frame of any size."""
        from PIL import Image

        small = Image.fromarray(frame).reduce(max(1, round(frame.shape[0] / SIDE)))
        self.frames.append(np.asarray(small))
        self.steps.append(step)
        self.returns.append(earned)

    def spread(self, count: int) -> list[int]:
        """Indices of at most ``count`` frames, evenly from the first to the last."""
        return np.unique(np.linspace(0, len(self.frames) - 1, count).round().astype(int)).tolist()


def contact_sheet(film: Film, count: int = FRAMES, columns: int = COLUMNS) -> bytes:
    """A PNG of evenly spaced frames, each with its step and the return so far.

    Args:
        film: at least one frame.
        count: frames of the sheet (default 12); a shorter film has fewer.
        columns: frames beside each other (default 4).
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
    """An endless GIF of how the episode begins, as fast as in life.

    Args:
        film: at least one frame.
        count: frames of the animation (default 100); a shorter film has fewer.
        every: steps between two of them (default 2).
    """
    from PIL import Image

    first, *rest = (Image.fromarray(frame).quantize(COLOURS) for frame in film.frames[: count * every : every])
    shown = round(1000 * every / film.fps)  # milliseconds
    return _bytes(first, "GIF", save_all=True, append_images=rest, duration=shown, loop=0)


def _bytes(image: Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
