"""Labelled images: each kind of source is one file of this folder, which is found by itself.

A set has three parts, held in memory as bytes or, where a part is too large for that (``decode.MOST_BYTES``), decoded
image by image when they are needed. Training and choosing see ``train`` and ``held_out``; ``test`` is for the verdict.
Where a source does not say which images are for which, the same ones are drawn in every run.
"""

from weit_rl.data.images.image_set import Images, load_images, name_of
from weit_rl.data.images.registry import SOURCES

__all__ = ["SOURCES", "Images", "load_images", "name_of"]
