"""Images of a class, in pixels: predict the noise that was added to one (DDPM, Ho et al. 2020, arXiv 2006.11239)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.data.epochs import Epochs
from weit_rl.data.images import Images
from weit_rl.data.images.decode import Part
from weit_rl.errors import UserError
from weit_rl.models import MODELS, models_of
from weit_rl.plan import Plan
from weit_rl.registry import unknown
from weit_rl.sizes import Size
from weit_rl.tasks.pictures import grid_of
from weit_rl.tasks.sampling import denoise, diffusers_schedulers, guided, scheduler_of
from weit_rl.weit import eval_mode

NAME = "diffusion"
PARTS = ("train", "held_out", "test")
SAMPLE = 256  # images that a network is run on where its activations are looked at
AT_ONCE = 256  # images of a batch in evaluation
SHOWN = 8  # images of a class in a picture
COLUMNS = {  # of a table: of which metric, in which unit; the first three are of every evaluation
    "PSNR of the noise (dB)": ("psnr", 1),
    "loss": ("loss", 1),
    "images": ("images", 1),
    "samples": ("samples", 1),
    "FID": ("fid", 1),
    "KID (x 1000)": ("kid", 1000),
    "precision (%)": ("precision", 100),
    "recall (%)": ("recall", 100),
}
INPUTS = ("images", "timesteps", "labels")  # of a network, in this order


@dataclass(frozen=True)
class DiffusionConfig:
    """Options of the diffusion task.

    Attributes:
        model: a name in ``MODELS``, of a model for diffusion.
        tile: edge of a template.
        patch_size: edge of a patch in pixels; None leaves it to the model.
        dropout: of the network in training.
        batch_size: images a step.
        label_dropout: how often a label is left out in training, for guidance without a classifier (arXiv 2207.12598).
        timesteps: of the noise, whose variances rise linearly from 1e-4 to 0.02.
        flip: whether half of the images are mirrored left to right.
        seed: of the batches.
        device: where networks and batches live.
        data_images: how many training images there are, the same in every run; None takes all.
    """

    model: str = "dit"
    tile: int = 16
    patch_size: int | None = None
    dropout: float = 0.0
    batch_size: int = 64
    label_dropout: float = 0.1
    timesteps: int = 1000
    flip: bool = False
    seed: int = 0
    device: str = "cpu"
    data_images: int | None = None


class Diffusion:
    """Denoising of one set of images.

    Its measure is the signal-to-noise ratio of the predicted noise in decibels, ``-10 log10`` of the squared error.

    Args:
        images: the set.
        config: options.

    Raises:
        UserError: for a model that is for something else, numbers out of their range, or without diffusers.
    """

    measure = "psnr"

    def __init__(self, images: Images, config: DiffusionConfig):
        if MODELS.get(config.model).task != NAME:
            raise unknown("model of diffusion", config.model, models_of(NAME))
        if not 0 <= config.label_dropout <= 1:
            raise UserError(f"label_dropout={config.label_dropout}: must be from 0 to 1")
        self.images = images if config.data_images is None else images.drawn(config.data_images)
        self.config, self.model, self.name = config, MODELS.get(config.model), images.name
        self.plan: Plan = self.model.plan(config.tile)
        self.scheduler = diffusers_schedulers().DDPMScheduler(config.timesteps)
        self._epochs = Epochs(len(self.images.train), config.batch_size, config.seed)

    @property
    def none(self) -> int:
        """The label that stands for none."""
        return len(self.images.classes)

    def options(self) -> dict[str, Any]:
        """What the model's constructor needs besides the size (kept in checkpoints)."""
        return {
            "image_size": self.images.image_size,
            "channels": self.images.channels,
            "classes": self.none,
            "patch_size": self.config.patch_size,
            "dropout": self.config.dropout,
        }

    def build(self, size: Size, seed: int = 0) -> nn.Module:
        """A fresh network."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.model.make(size, **self.options()).to(self.config.device)

    def card(self, size: Size) -> dict[str, Any]:
        """What a checkpoint must say so that the network can be built, and images made with it, again."""
        shape = [size.width, size.depth, size.head_dim]
        card = {"model": self.config.model, "size": shape, "options": self.options(), "task": NAME}
        return card | {"data": self.name, "classes": list(self.images.classes), "timesteps": self.config.timesteps}

    def batch(self, step: int) -> dict[str, Tensor]:
        """``batch_size`` images of the step, noised; every image comes once an epoch.

        Returns:
            ``images`` (B, C, H, W) float32, the noised ones, ``timesteps`` (B,) int64, ``labels`` (B,) int64, some of
            them none, and ``noise`` like the images, which is wanted of a network.
        """
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        batch = self._noised(self.images.train.subset(self._epochs(step)), generator, self.config.flip)
        dropped = torch.rand(len(batch["labels"]), generator=generator) < self.config.label_dropout
        return self._on_device(batch | {"labels": torch.where(dropped, self.none, batch["labels"])})

    def run(self, net: Any) -> None:
        """Run a network on a sample of the training images, the same for every network and seed."""
        part = self.images.train
        chosen = np.random.default_rng(0).permutation(len(part))[:SAMPLE]
        batch = self._on_device(self._noised(part.subset(chosen), torch.Generator().manual_seed(0)))
        net(*(batch[name] for name in INPUTS))

    def domains(self) -> list[Callable[[Any, int], Tensor]] | None:
        """None: it is a single set."""
        return None

    def loss(self, net: Any, batch: dict[str, Tensor]) -> Tensor:
        """Mean squared error of the noise."""
        return F.mse_loss(net(*(batch[name] for name in INPUTS)), batch["noise"])

    def validation_loss(self, net: Any, batches: int = 10) -> float:
        """The loss on up to so many batches of held-out images, with all labels and always the same noise."""
        return self._error(net, self.images.held_out, batches)

    def evaluate(self, net: nn.Module, episodes: int = 0, seed: int = 0, part: str = "test") -> dict[str, Any]:
        """The denoising error on all images of a part; nothing is drawn, so episodes and seed are for others.

        Args:
            net: a plain network.
            episodes: not looked at.
            seed: not looked at.
            part: ``"test"`` (default), or ``"held_out"`` to choose by.
        """
        if part not in PARTS:
            raise unknown("part of the images", part, list(PARTS))
        images: Part = getattr(self.images, part)
        loss = self._error(net, images)
        return {"psnr": -10 * math.log10(loss), "loss": loss, "images": len(images)}

    def settle(self, net: nn.Module) -> None:
        """Nothing: no buffer is bound to the run."""

    def reference(self) -> None:
        """None: the images have no score of their own."""

    def row(self, name: str, metrics: dict[str, Any]) -> dict[str, Any]:
        """One row of a table; with what is known of drawn images, where it is."""
        return {"": name} | {title: unit * metrics[key] for title, (key, unit) in COLUMNS.items() if key in metrics}

    def logged(self, metrics: dict[str, Any]) -> dict[str, float]:
        """The measure; the loss is logged as every task's is."""
        return {"psnr": metrics["psnr"]}

    def closer_look(self, net: nn.Module) -> tuple[dict[str, Any], dict[str, bytes]]:
        """No further number, and a PNG of a few images of every class."""
        labels = torch.arange(self.none).repeat_interleave(SHOWN)
        return {}, {"samples": grid_of(self.sample(net, labels).numpy(), SHOWN)}

    @torch.no_grad()
    def sample(
        self,
        net: nn.Module,
        labels: Tensor,
        steps: int = 50,
        guidance: float = 1.5,
        seed: int = 0,
        scheduler: str = "ddim",
    ) -> Tensor:
        """Images of these labels ``(n,)``, ``(n, C, H, W)`` uint8 on the CPU.

        Args:
            net: a plain network.
            labels: what is wanted of each image.
            steps: of the scheduler (default 50).
            guidance: how far beyond the network's answer without a label its answer with one is followed (default 1.5;
                1 uses the answer with the label alone).
            seed: of the noise that it begins with, and of what is added on the way.
            scheduler: ``"ddim"`` (default), ``"ddpm"`` or ``"dpmsolver++"``.

        Raises:
            UserError: for another scheduler, or more steps than there are time steps.
        """
        how, generator = scheduler_of(scheduler, self.scheduler), torch.Generator().manual_seed(seed)
        shape = (len(labels), self.images.channels, self.images.image_size, self.images.image_size)
        images = torch.randn(shape, generator=generator).to(self.config.device)
        with eval_mode(net):
            noise = guided(net, labels.to(self.config.device), self.none, guidance)
            images = denoise(noise, how, images, steps, generator)
        return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()

    @torch.no_grad()
    def _error(self, net: Any, part: Part, batches: int | None = None) -> float:
        generator, total, count = torch.Generator().manual_seed(0), 0.0, 0
        with eval_mode(net):
            for first in range(0, len(part), AT_ONCE)[:batches]:
                some = part.subset(np.arange(first, min(first + AT_ONCE, len(part))))
                total += float(self.loss(net, self._on_device(self._noised(some, generator)))) * len(some)
                count += len(some)
        return total / count

    def _noised(self, part: Part, generator: torch.Generator, flip: bool = False) -> dict[str, Tensor]:
        clean, labels = torch.from_numpy(part.pixels) / 127.5 - 1, torch.from_numpy(part.labels)
        if flip:
            turned = torch.rand(len(clean), 1, 1, 1, generator=generator) < 0.5
            clean = torch.where(turned, clean.flip(-1), clean)
        times = torch.randint(self.config.timesteps, (len(clean),), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        noised = self.scheduler.add_noise(clean, noise, times)
        return {"images": noised, "timesteps": times, "labels": labels, "noise": noise}

    def _on_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.config.device) for name, tensor in batch.items()}
