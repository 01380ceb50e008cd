"""Image classification: cross-entropy on labelled images, judged by the share of a test set that is told right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown
from weit_rl.common.sizes import Size
from weit_rl.core.composed_network import eval_mode
from weit_rl.core.plan import Plan
from weit_rl.data.epochs import Epochs
from weit_rl.data.images import Images
from weit_rl.data.images.parts import Part, Unread
from weit_rl.data.prefetch import Prefetcher
from weit_rl.models import MODELS, models_of, vit
from weit_rl.models.registry import chosen_options
from weit_rl.tasks.augmentation import Augment, Recipe
from weit_rl.tasks.calibration import calibration_error, confusion_matrix, draw_confusion, draw_reliability

NAME = "classification"
PARTS = ("train", "held_out", "test")
SPLIT_SEED = 0
SAMPLE = 256  # images that a network is run on where its activations are looked at
AT_ONCE = 256  # images of a batch in evaluation
TOP = 5


@dataclass(frozen=True)
class ClassificationConfig(Recipe):
    """Options of the classification task, behind those of its augmentation.

    Attributes:
        model: a name in ``MODELS``, of a model for classification.
        tile: edge of a template.
        patch_size: edge of a patch in pixels; None leaves it to the model.
        dropout: of the network in training.
        drop_path: how often the last block is left out in training, earlier ones less.
        batch_size: images a step.
        label_smoothing: share of the target that all classes get alike, in training.
        seed: of the batches.
        device: where networks and batches live.
        workers: processes that read and augment images ahead; 0 for none.
        data_images: how many training images there are, the same in every run; None takes all.
        model_options: further options of the model's constructor, which replace those above.
    """

    model: str = "vit"
    tile: int = 16
    patch_size: int | None = None
    dropout: float = 0.0
    drop_path: float = 0.0
    batch_size: int = 64
    label_smoothing: float = 0.1
    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    data_images: int | None = None
    model_options: Mapping[str, Any] = field(default_factory=dict)


class Classification:
    """Supervised classification of one set of images.

    Its measure is the accuracy, in percent, as timm prints it.

    Args:
        images: the set.
        config: options.

    Raises:
        UserError: for a model that is for something else, or numbers out of their range.
    """

    measure = "accuracy"

    def __init__(self, images: Images, config: ClassificationConfig):
        if MODELS.get(config.model).task != NAME:
            raise unknown("model of images", config.model, models_of(NAME))
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
        """What the model's constructor needs besides the size (kept in checkpoints)."""
        return {
            "image_size": self.images.image_size,
            "channels": self.images.channels,
            "classes": len(self.images.classes),
            **chosen_options(self.config.model, self.config, vit.build, self.config.model_options),
        }

    def build(self, size: Size, seed: int = 0) -> nn.Module:
        """A fresh network with the training images' normaliser in its buffers."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            net = self.model.make(size, **self.options())
        for name, value in zip(("image_mean", "image_std"), self.images.statistics(), strict=True):
            net.get_buffer(name).copy_(torch.from_numpy(value))
        return net.to(self.config.device)

    def card(self, size: Size) -> dict[str, Any]:
        """What a checkpoint must say so that the network can be built, and its answers named, again."""
        shape = [size.width, size.depth, size.head_dim]
        card = {"model": self.config.model, "size": shape, "options": self.options(), "task": NAME}
        return card | {"data": self.name, "classes": list(self.images.classes)}

    def batch(self, step: int) -> dict[str, Tensor]:
        """The ``batch_size`` images of a step, augmented; every image comes once an epoch, in an order of its own.

        Returns:
            ``images`` (B, C, H, W) uint8 and ``labels`` (B,) int64; with mixup floats in [0, 1] and (B, classes).
        """
        return self._on_device(*self._ahead(step))

    def run(self, net: Any) -> None:
        """Run a network on a sample of the training images, the same for every network and seed."""
        net(self._drawn(self.images.train, SAMPLE, SPLIT_SEED)["images"])

    def domains(self) -> list[Callable[[Any, int], Tensor]] | None:
        """None: it is a single set."""
        return None

    def loss(self, net: Any, batch: dict[str, Tensor]) -> Tensor:
        """Cross-entropy against smoothed labels."""
        return F.cross_entropy(net(batch["images"]), batch["labels"], label_smoothing=self.config.label_smoothing)

    @torch.no_grad()
    def validation_loss(self, net: Any, batches: int = 10) -> float:
        """Cross-entropy on held-out images as they are, against their labels as they are."""
        draws = (self._drawn(self.images.held_out, self.config.batch_size, seed) for seed in range(batches))
        with eval_mode(net):
            return sum(float(F.cross_entropy(net(batch["images"]), batch["labels"])) for batch in draws) / batches

    @torch.no_grad()
    def answers(self, net: nn.Module, part: str = "test") -> tuple[Tensor, Tensor]:
        """What a network puts out for all images of a part, ``(n, classes)``, and their labels ``(n,)``, on the CPU.

        Args:
            net: a plain network.
            part: ``"test"`` (default), ``"held_out"`` or ``"train"``.
        """
        found = []
        with eval_mode(net):
            for some in self._part(part).chunks(AT_ONCE, self.config.workers):
                images, labels = _tensors(some)
                found.append((net(images.to(self.config.device)).cpu(), labels))
        logits, labels = (torch.cat(each) for each in zip(*found, strict=True))
        return logits, labels

    def evaluate(self, net: nn.Module, episodes: int = 0, seed: int = 0, part: str = "test") -> dict[str, Any]:
        """How well a network tells all images of a part; nothing is drawn, so episodes and seed are for others.

        Args:
            net: a plain network.
            episodes: not looked at.
            seed: not looked at.
            part: ``"test"`` (default), or ``"held_out"`` to choose by.

        Returns:
            ``accuracy`` and ``top5`` in percent, ``loss``, and ``images``, their number.
        """
        logits, labels = self.answers(net, part)
        ranked = logits.topk(min(TOP, logits.shape[1])).indices == labels[:, None]
        return {
            "accuracy": 100 * float(ranked[:, 0].double().mean()),
            "top5": 100 * float(ranked.any(1).double().mean()),
            "loss": float(F.cross_entropy(logits, labels)),
            "images": len(labels),
        }

    def settle(self, net: nn.Module) -> None:
        """Nothing: the normaliser comes with the weights."""

    def reference(self) -> None:
        """None: the images have no score of their own."""

    def row(self, name: str, metrics: dict[str, Any]) -> dict[str, Any]:
        """One row of a table."""
        shown = {"accuracy (%)": "accuracy", "top-5 (%)": "top5", "cross-entropy": "loss", "images": "images"}
        return {"": name} | {title: metrics[key] for title, key in shown.items()}

    def logged(self, metrics: dict[str, Any]) -> dict[str, float]:
        """Both accuracies; the loss is logged as every task's is."""
        return {"accuracy": metrics["accuracy"], "top5": metrics["top5"]}

    def closer_look(self, net: nn.Module) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Confusion matrix and calibration error on the test images, and a PNG of each."""
        logits, labels = self.answers(net)
        matrix = confusion_matrix(logits, labels)
        numbers = {"confusion": matrix.tolist(), "calibration_error": calibration_error(logits, labels)}
        confusion = draw_confusion(matrix, self.images.classes)
        return numbers, {"confusion": confusion, "reliability": draw_reliability(logits, labels)}

    def _augmented(self, step: int) -> tuple[Tensor, Tensor]:
        images, labels = _tensors(self.images.train.read(self._epochs(step)))
        return self._augment(images, labels, self._seed(step))

    def _part(self, name: str) -> Part | Unread:
        if name not in PARTS:
            raise unknown("part of the images", name, list(PARTS))
        part: Part | Unread = getattr(self.images, name)
        return part

    def _drawn(self, part: Part | Unread, count: int, seed: int) -> dict[str, Tensor]:
        chosen = np.random.default_rng(seed).permutation(len(part))[:count]
        return self._on_device(*_tensors(part.read(chosen)))

    def _seed(self, step: int) -> int:
        return self.config.seed * 1_000_003 + step

    def _on_device(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"images": images.to(self.config.device), "labels": labels.to(self.config.device)}


def _tensors(part: Part) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(part.pixels), torch.from_numpy(part.labels)
