"""Labelled images: each kind of source is one file of this folder, found automatically.

A set has three parts: ``train``, ``held_out`` and ``test``. Training and model selection use ``train`` and
``held_out``; ``test`` is for the final score. A part is held in memory as bytes, or decoded image by image if it is
larger than ``decode.MOST_BYTES``. If a source does not divide its images, every run divides them in the same way.
"""

from weit_rl.data.images.image_set import Images
from weit_rl.data.images.loading import load_images, name_of
from weit_rl.data.images.registry import SOURCES

__all__ = ["SOURCES", "Images", "load_images", "name_of"]
