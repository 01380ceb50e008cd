"""Augment training images with torchvision's transforms; every batch has its own seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weit_rl.common.errors import UserError


@dataclass(frozen=True)
class Augmentation:
    """The transforms to apply, by torchvision's names.

    Attributes:
        crop_padding: pixels by which an image may be shifted; the gap is black (RandomCrop). None means an eighth of
            the edge, and 0 for sounds, images below 16 pixels, or if ``crop_scale`` is below 1.
        crop_scale: smallest share of an image that is cut out and enlarged (RandomResizedCrop); 1 cuts nothing.
        flip: if half of the images are mirrored left to right.
        randaugment: number of RandAugment operations per image (arXiv 1909.13719); 0 for none.
        magnitude: strength of these operations, from 0 to 30.
        mixup: parameter of the Beta distribution that mixes pairs of images (arXiv 1710.09412); 0 for none.
        cutmix: parameter of the Beta distribution that puts a part of one image into another (arXiv 1905.04899); 0 for
            none. If mixup is on, too, every batch gets one of the two.
        erase: probability that a rectangle of an image is made black (RandomErasing, arXiv 1708.04896).
    """

    crop_padding: int | None = None
    crop_scale: float = 1.0
    flip: bool = False
    randaugment: int = 0
    magnitude: int = 9
    mixup: float = 0.0
    cutmix: float = 0.0
    erase: float = 0.0


class Augment:
    """An augmenter of batches. The same seed gives the same images, and torch's random state stays as it was.

    Args:
        recipe: the transforms.
        image_size: edge of an image in pixels.
        classes: number of labels, for mixup.

    Raises:
        UserError: if torchvision is not installed, or a number of the recipe is out of range.
    """

    def __init__(self, recipe: Augmentation, image_size: int, classes: int):
        try:
            from torchvision.transforms import v2
        except ImportError as error:
            raise UserError(f"classification needs torchvision ({error}): pip install 'weit_rl[vision]'") from error
        _check(recipe)
        cut = recipe.crop_scale < 1
        padding = _padding(image_size) * (not cut) if recipe.crop_padding is None else recipe.crop_padding
        wanted = {
            v2.RandomResizedCrop: cut and {"size": image_size, "scale": (recipe.crop_scale, 1.0)},
            v2.RandomCrop: padding and {"size": image_size, "padding": padding},
            v2.RandomHorizontalFlip: recipe.flip and {"p": 0.5},
            v2.RandAugment: recipe.randaugment and {"num_ops": recipe.randaugment, "magnitude": recipe.magnitude},
            v2.RandomErasing: recipe.erase and {"p": recipe.erase},
        }
        self._each = [kind(**arguments) for kind, arguments in wanted.items() if arguments]
        self._float = v2.ToDtype(torch.float32, scale=True)
        pairs = {v2.MixUp: recipe.mixup, v2.CutMix: recipe.cutmix}
        mixes = [kind(alpha=alpha, num_classes=classes) for kind, alpha in pairs.items() if alpha]
        self._mix = v2.RandomChoice(mixes) if len(mixes) > 1 else next(iter(mixes), None)

    def __call__(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: ``(B, C, H, W)`` uint8.
            labels: ``(B,)`` int64.
            seed: seed of everything random.

        Returns:
            Images and labels of the same shapes and types. With mixup or cutmix the images are floats in [0, 1] and
            the labels shares of the classes ``(B, classes)``.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # manual_seed would also reseed the GPU, and its dropout
            images = torch.stack([self._one(image) for image in images])
            return self._mix(self._float(images), labels) if self._mix else (images, labels)

    def _one(self, image: Any) -> Any:
        for transform in self._each:
            image = transform(image)
        return image


def _padding(image_size: int) -> int:
    return image_size // 8 if image_size >= 16 else 0


def _check(recipe: Augmentation) -> None:
    for name in ("crop_padding", "randaugment", "mixup", "cutmix"):
        if (value := getattr(recipe, name) or 0) < 0:
            raise UserError(f"{name}={value}: must be 0 or more")
    for name, least, most in (("magnitude", 0, 30), ("crop_scale", 0.01, 1), ("erase", 0, 1)):
        if not least <= (value := getattr(recipe, name)) <= most:
            raise UserError(f"{name}={value}: must be from {least} to {most}")
