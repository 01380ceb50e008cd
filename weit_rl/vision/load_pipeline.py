"""Load the diffusion pipeline, whose module needs diffusers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weit_rl.vision.pipeline import PixelDiTPipeline


def pipeline_class() -> type[PixelDiTPipeline]:
    """Import the pipeline's class; UserError if diffusers is missing."""
    from weit_rl.tasks.sampling import diffusers_schedulers

    diffusers_schedulers()
    from weit_rl.vision.pipeline import PixelDiTPipeline

    return PixelDiTPipeline
