"""Generate images of a class by diffusion (DDPM, Ho et al. 2020, arXiv 2006.11239), in pixels or latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from weit_rl.data.images import Images
from weit_rl.data.images.parts import ImagesInMemory, ImagesOnDemand
from weit_rl.models import MODELS, models_of
from weit_rl.models.registry import chosen_options
from weit_rl.tasks.latents import Latents, Pixels
from weit_rl.tasks.noise import Noise
from weit_rl.tasks.pictures import grid_of
from weit_rl.tasks.sample_quality import Judge, check_count, quality_of
from weit_rl.tasks.sampling import check_steps, denoise, guided_noise, scheduler_of, training_scheduler

NAME = "diffusion"
PARTS = ("train", "held_out", "test")
AT_ONCE = 256  # images of a batch in evaluation
SHOWN = 8  # images of a class in the picture
MOST_CLASSES = 20  # in the picture
COLUMNS = {  # heading -> metric and its factor; every evaluation has the first three
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
        model: name of a model for diffusion in ``MODELS``.
        tile: edge of a template.
        batch_size: images per step.
        label_dropout: probability that training hides a label, for classifier-free guidance (arXiv 2207.12598).
        timesteps: steps of the noise; variances rise linearly from 1e-4 to 0.02, steeper with fewer than 1000 steps.
        flip: if half of the images are mirrored left to right.
        seed: seed of the batches.
        device: device of networks and batches.
        workers: processes that read images in advance; 0 for none.
        autoencoder: folder of a diffusers AutoencoderKL whose latents are denoised (None: pixels are).
        features: run of a classifier, or ``"inception"``, whose features compare samples with test images (None: no
            comparison).
        samples: images to sample for this comparison.
        scheduler: sampler, a name in ``SCHEDULERS``.
        sampling_steps: steps of the sampler.
        guidance: weight of the label in classifier-free guidance; 1 is the plain conditional prediction.
        data_images: number of training images to use, the same ones in every run (None: all).
        model_options: options of the model's constructor, such as ``patch_size``; others are at their defaults.
    """

    model: str = "dit"
    tile: int = 16
    batch_size: int = 64
    label_dropout: float = 0.1
    timesteps: int = 1000
    flip: bool = False
    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    autoencoder: str | None = None
    features: str | None = None
    samples: int = 1000
    scheduler: str = "ddim"
    sampling_steps: int = 50
    guidance: float = 1.5
    data_images: int | None = None
    model_options: Mapping[str, Any] = field(default_factory=dict)


class Diffusion:
    """The task of one set of images: predict the noise in them.

    Its measure is the signal-to-noise ratio of the predicted noise in decibels, ``-10 log10`` of the squared error.

    Args:
        images: the set of images.
        config: the options.

    Raises:
        UserError: for a model of another task, a number out of range, a classifier that does not fit, or if diffusers
            is missing.
    """

    measure = "psnr"

    def __init__(self, images: Images, config: DiffusionConfig):
        if MODELS.get(config.model).task != NAME:
            raise unknown_name_error("model of diffusion", config.model, models_of(NAME))
        if not 0 <= config.label_dropout <= 1:
            raise UserError(f"label_dropout={config.label_dropout}: must be from 0 to 1")
        check_guidance(config, config.guidance)
        self.images = images if config.data_images is None else images.drawn(config.data_images)
        self.config, self.model, self.name = config, MODELS.get(config.model), images.name
        self.plan: Plan = self.model.plan(config.tile)
        self.space = Pixels(self.images) if config.autoencoder is None else self._latents()
        self.scheduler = training_scheduler(config.timesteps, self.space.bounded)
        self._noise = Noise(self.space, self.scheduler, config, self.none)
        check_steps(config.sampling_steps, scheduler_of(config.scheduler, self.scheduler))
        check_count("samples", config.samples)
        self._judge = Judge(config.features, self.images, config.device) if config.features else None

    @property
    def none(self) -> int:
        """The label that stands for no class."""
        return len(self.images.classes)

    def options(self) -> dict[str, Any]:
        """Return the model's constructor options, which checkpoints keep beside the size."""
        return {
            "image_size": self.space.shape[1],
            "channels": self.space.shape[0],
            "classes": self.none,
            **chosen_options(self.config.model, self.config.model_options),
        }

    def build(self, size: Size, seed: int = 0) -> nn.Module:
        """Build a fresh network."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.model.make(size, **self.options()).to(self.config.device)

    def card(self, size: Size) -> dict[str, Any]:
        """Describe the network for a checkpoint's card: enough to build it again and to sample with it."""
        shape = [size.width, size.depth, size.head_dim]
        card = {"model": self.config.model, "size": shape, "options": self.options(), "task": NAME}
        if self.config.autoencoder is not None:
            pixels = {"image_size": self.images.image_size, "channels": self.images.channels}
            card |= {"autoencoder": self.config.autoencoder, "pixels": pixels}
        return card | {"data": self.name, "classes": list(self.images.classes), "timesteps": self.config.timesteps}

    def batch(self, step: int) -> dict[str, Tensor]:
        """Draw the noised images of a step; every epoch has each image once.

        Returns:
            Noised ``images`` (B, C, H, W) float32, ``timesteps`` (B,) int64, ``labels`` (B,) int64, some of them
            hidden, and the ``noise`` to predict, shaped like the images.
        """
        return self._noise.batch(step)

    def run(self, net: Any) -> None:
        """Run a network on a sample of the training images, the same for every network and seed."""
        batch = self._noise.sample()
        net(*(batch[name] for name in INPUTS))

    def domains(self) -> list[Callable[[Any, int], Tensor]] | None:
        """Return None: the data are a single set."""
        return None

    def loss(self, net: Any, batch: dict[str, Tensor]) -> Tensor:
        """Compute the mean squared error of the predicted noise."""
        return F.mse_loss(net(*(batch[name] for name in INPUTS)), batch["noise"])

    def validation_loss(self, net: Any, batches: int = 10) -> float:
        """Compute the loss on some batches of held-out images, with all labels and always the same noise."""
        part = self.space.part("held_out")
        drawn = np.random.default_rng(0).permutation(len(part))[: batches * AT_ONCE]  # folders are sorted by class
        return self._error(net, part.subset(np.sort(drawn)))

    def evaluate(self, net: nn.Module, episodes: int = 0, seed: int = 0, part: str = "test") -> dict[str, Any]:
        """Evaluate the denoising error on all images of a part; on test images also the quality of samples.

        Args:
            net: a plain network.
            episodes: ignored; nothing acts here.
            seed: seed of the samples, if ``features`` asks for any.
            part: ``"test"`` (default), or ``"held_out"`` to choose networks by.
        """
        if part not in PARTS:
            raise unknown_name_error("part of the images", part, list(PARTS))
        images = self.space.part(part)
        loss = self._error(net, images)
        found = {"psnr": -10 * math.log10(loss), "loss": loss, "images": len(images)}
        return found | (self._quality(net, seed) if part == "test" else {})

    def settle(self, net: nn.Module) -> None:
        """Do nothing: no buffer depends on the run."""

    def reference(self) -> None:
        """Return None: images have no score of their own."""

    def row(self, name: str, metrics: dict[str, Any]) -> dict[str, Any]:
        """Return one row of the table of results; the quality of samples is in it if it was measured."""
        return {"": name} | {title: unit * metrics[key] for title, (key, unit) in COLUMNS.items() if key in metrics}

    def logged(self, metrics: dict[str, Any]) -> dict[str, float]:
        """Return the measure; the loss of every task is logged elsewhere."""
        return {"psnr": metrics["psnr"]}

    def diagnostics(self, net: nn.Module) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return no further number, and a PNG with eight samples of each of the first 20 classes."""
        labels, config = torch.arange(min(self.none, MOST_CLASSES)).repeat_interleave(SHOWN), self.config
        how: dict[str, Any] = {
            "steps": config.sampling_steps,
            "guidance": config.guidance,
            "scheduler": config.scheduler,
        }
        return {}, {"samples": grid_of(self.sample(net, labels, **how).numpy(), SHOWN)}

    def _quality(self, net: nn.Module, seed: int) -> dict[str, Any]:
        if self._judge is None:
            return {}
        config = self.config
        drawn: dict[str, Any] = {"scheduler": config.scheduler, "guidance": config.guidance}
        how = (self._judge.features, config.samples, seed)
        numbers = quality_of(self, net, *how, steps=config.sampling_steps, **drawn)
        drawn |= {"samples": config.samples, "sampling_steps": config.sampling_steps}
        return numbers | drawn | {"features": self._judge.name, "features_run": str(config.features)}

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
        """Sample images of given classes.

        Args:
            net: a plain network.
            labels: class of each image, ``(n,)``.
            steps: steps of the sampler (default 50).
            guidance: weight of the label in classifier-free guidance; 1 is the plain conditional prediction (default
                1.5).
            seed: seed of the initial noise and of the noise that some samplers add (default 0).
            scheduler: ``"ddim"`` (default), ``"ddpm"`` or ``"dpmsolver++"``.

        Returns:
            Images ``(n, C, H, W)`` uint8, on the CPU.

        Raises:
            UserError: for another scheduler, more steps than training had, or guidance of a network that was never
                trained without labels.
        """
        check_guidance(self.config, guidance)
        how, generator = scheduler_of(scheduler, self.scheduler), torch.Generator().manual_seed(seed)
        noises, drawn = torch.randn((len(labels), *self.space.shape), generator=generator), []
        with eval_mode(net):
            for start, some in zip(noises.split(AT_ONCE), labels.split(AT_ONCE), strict=True):
                noise = guided_noise(net, some.to(self.config.device), self.none, guidance)
                images = denoise(noise, how, start.to(self.config.device), steps, generator)
                drawn.append(self.space.decode(images))
        return torch.cat(drawn)

    @torch.no_grad()
    def _error(self, net: Any, part: ImagesInMemory | ImagesOnDemand) -> float:
        generator, total, count = torch.Generator().manual_seed(0), 0.0, 0
        with eval_mode(net):
            for some in part.chunks(AT_ONCE, self.config.workers):
                total += float(self.loss(net, self._noise.add(some, generator))) * len(some)
                count += len(some)
        return total / count

    def _latents(self) -> Latents:
        config = self.config
        return Latents(self.images, str(config.autoencoder), config.flip, config.device, config.workers)


def check_guidance(config: DiffusionConfig, guidance: float) -> None:
    """Raise UserError for guidance of a network that is never trained without labels."""
    if config.label_dropout == 0 and guidance != 1:
        raise UserError(f"guidance={guidance}: with label_dropout=0 nothing is learned without labels; give guidance=1")
