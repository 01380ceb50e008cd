"""Classify images: train by cross-entropy on labelled images, evaluate by accuracy on a test set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.sizes import Size
from weit_rl.core.eval_mode import eval_mode
from weit_rl.core.plan import Plan
from weit_rl.data.epochs import Epochs
from weit_rl.data.images import Images
from weit_rl.data.images.parts import ImagesInMemory, ImagesOnDemand
from weit_rl.data.prefetch import Prefetcher
from weit_rl.models import MODELS, models_of
from weit_rl.models.registry import chosen_options
from weit_rl.tasks.augmentation import Augment, Augmentation
from weit_rl.tasks.calibration import calibration_error, confusion_matrix, draw_confusion, draw_reliability

NAME = "classification"
PARTS = ("train", "held_out", "test")
SPLIT_SEED = 0
SAMPLE = 256  # images that a network runs on to record its activations
AT_ONCE = 256  # images of a batch in evaluation
TOP = 5


@dataclass(frozen=True)
class ClassificationConfig(Augmentation):
    """Options of the classification task, after those of its augmentation.

    Attributes:
        model: name of a model for classification in ``MODELS``.
        tile: edge of a template.
        batch_size: images per step.
        label_smoothing: share of the training target that is spread evenly over all classes.
        seed: seed of the batches.
        device: device of networks and batches.
        workers: processes that read and augment images in advance; 0 for none.
        data_images: number of training images to use, the same ones in every run (None: all).
        model_options: options of the model's constructor, such as ``patch_size``; others are at their defaults.
    """

    model: str = "vit"
    tile: int = 16
    batch_size: int = 64
    label_smoothing: float = 0.1
    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    data_images: int | None = None
    model_options: Mapping[str, Any] = field(default_factory=dict)


class Classification:
    """The classification of one set of images, measured by accuracy in percent, as timm prints it.

    Args:
        images: the set of images.
        config: the options.

    Raises:
        UserError: for a model of another task, or a number out of range.
    """

    measure = "accuracy"

    def __init__(self, images: Images, config: ClassificationConfig):
        if MODELS.get(config.model).task != NAME:
            raise unknown_name_error("model of images", config.model, models_of(NAME))
        if not 0 <= config.label_smoothing < 1:
            raise UserError(f"label_smoothing={config.label_smoothing}: must be from 0 to less than 1")
        self.images = images if config.data_images is None else images.drawn(config.data_images)
        self.config, self.model, self.name = config, MODELS.get(config.model), images.name
        self.plan: Plan = self.model.plan(config.tile)
        shifted = config.crop_padding is not None or images.shifts
        recipe = config if shifted else replace(config, crop_padding=0)
        self._augment = Augment(recipe, images.image_size, len(images.classes))
        self._epochs = Epochs(len(self.images.train), config.batch_size, config.seed)
        self._ahead = Prefetcher(self._augmented, config.workers)

    def options(self) -> dict[str, Any]:
        """Return the model's constructor options, which checkpoints keep beside the size."""
        return {
            "image_size": self.images.image_size,
            "channels": self.images.channels,
            "classes": len(self.images.classes),
            **chosen_options(self.config.model, self.config.model_options),
        }

    def build(self, size: Size, seed: int = 0) -> nn.Module:
        """Build a fresh network; its buffers normalise images by the training images' statistics."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            net = self.model.make(size, **self.options())
        for name, value in zip(("image_mean", "image_std"), self.images.statistics(), strict=True):
            net.get_buffer(name).copy_(torch.from_numpy(value))
        return net.to(self.config.device)

    def card(self, size: Size) -> dict[str, Any]:
        """Describe the network for a checkpoint's card: enough to build it again and to name its classes."""
        shape = [size.width, size.depth, size.head_dim]
        card = {"model": self.config.model, "size": shape, "options": self.options(), "task": NAME}
        return card | {"data": self.name, "classes": list(self.images.classes)}

    def batch(self, step: int) -> dict[str, Tensor]:
        """Draw the augmented images of a step; every epoch has each image once, in a new order.

        Returns:
            ``images`` (B, C, H, W) uint8 and ``labels`` (B,) int64. With mixup or cutmix, images are floats in [0, 1]
            and labels (B, classes).
        """
        return self._on_device(*self._ahead(step))

    def run(self, net: Any) -> None:
        """Run a network on a sample of the training images, the same for every network and seed."""
        net(self._drawn(self.images.train, SAMPLE, SPLIT_SEED)["images"])

    def domains(self) -> list[Callable[[Any, int], Tensor]] | None:
        """Return None: the data are a single set."""
        return None

    def loss(self, net: Any, batch: dict[str, Tensor]) -> Tensor:
        """Compute the cross-entropy against smoothed labels."""
        return F.cross_entropy(net(batch["images"]), batch["labels"], label_smoothing=self.config.label_smoothing)

    @torch.no_grad()
    def validation_loss(self, net: Any, batches: int = 10) -> float:
        """Compute the cross-entropy on held-out images, without augmentation and label smoothing."""
        draws = (self._drawn(self.images.held_out, self.config.batch_size, seed) for seed in range(batches))
        with eval_mode(net):
            return sum(float(F.cross_entropy(net(batch["images"]), batch["labels"])) for batch in draws) / batches

    @torch.no_grad()
    def predict(self, net: nn.Module, part: str = "test") -> tuple[Tensor, Tensor]:
        """Predict all images of a part.

        Args:
            net: a plain network.
            part: ``"test"`` (default), ``"held_out"`` or ``"train"``.

        Returns:
            Logits ``(n, classes)`` and labels ``(n,)``, on the CPU.
        """
        found = []
        with eval_mode(net):
            for some in self._part(part).chunks(AT_ONCE, self.config.workers):
                images, labels = _tensors(some)
                found.append((net(images.to(self.config.device)).cpu(), labels))
        logits, labels = (torch.cat(each) for each in zip(*found, strict=True))
        return logits, labels

    def evaluate(self, net: nn.Module, episodes: int = 0, seed: int = 0, part: str = "test") -> dict[str, Any]:
        """Evaluate a network on all images of a part.

        Args:
            net: a plain network.
            episodes: ignored; nothing acts here.
            seed: ignored; nothing is random here.
            part: ``"test"`` (default), or ``"held_out"`` to choose networks by.

        Returns:
            ``accuracy`` and ``top5`` in percent, ``loss``, and ``images``, the number of images.
        """
        logits, labels = self.predict(net, part)
        ranked = logits.topk(min(TOP, logits.shape[1])).indices == labels[:, None]
        return {
            "accuracy": 100 * float(ranked[:, 0].double().mean()),
            "top5": 100 * float(ranked.any(1).double().mean()),
            "loss": float(F.cross_entropy(logits, labels)),
            "images": len(labels),
        }

    def settle(self, net: nn.Module) -> None:
        """Do nothing: the normaliser comes with the weights."""

    def reference(self) -> None:
        """Return None: images have no score of their own."""

    def row(self, name: str, metrics: dict[str, Any]) -> dict[str, Any]:
        """Return one row of the table of results."""
        shown = {"accuracy (%)": "accuracy", "top-5 (%)": "top5", "cross-entropy": "loss", "images": "images"}
        return {"": name} | {title: metrics[key] for title, key in shown.items()}

    def logged(self, metrics: dict[str, Any]) -> dict[str, float]:
        """Return both accuracies; the loss of every task is logged elsewhere."""
        return {"accuracy": metrics["accuracy"], "top5": metrics["top5"]}

    def diagnostics(self, net: nn.Module) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return the confusion matrix and calibration error on the test images, and a PNG of each."""
        logits, labels = self.predict(net)
        matrix = confusion_matrix(logits, labels)
        numbers = {"confusion": matrix.tolist(), "calibration_error": calibration_error(logits, labels)}
        confusion = draw_confusion(matrix, self.images.classes)
        return numbers, {"confusion": confusion, "reliability": draw_reliability(logits, labels)}

    def _augmented(self, step: int) -> tuple[Tensor, Tensor]:
        images, labels = _tensors(self.images.train.read(self._epochs(step)))
        return self._augment(images, labels, self._seed(step))

    def _part(self, name: str) -> ImagesInMemory | ImagesOnDemand:
        if name not in PARTS:
            raise unknown_name_error("part of the images", name, list(PARTS))
        part: ImagesInMemory | ImagesOnDemand = getattr(self.images, name)
        return part

    def _drawn(self, part: ImagesInMemory | ImagesOnDemand, count: int, seed: int) -> dict[str, Tensor]:
        chosen = np.random.default_rng(seed).permutation(len(part))[:count]
        return self._on_device(*_tensors(part.read(chosen)))

    def _seed(self, step: int) -> int:
        return self.config.seed * 1_000_003 + step

    def _on_device(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"images": images.to(self.config.device), "labels": labels.to(self.config.device)}


def _tensors(part: ImagesInMemory) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(part.pixels), torch.from_numpy(part.labels)
