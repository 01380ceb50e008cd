"""Images of a class, in pixels or latents: predict the noise in one (DDPM, Ho et al. 2020, arXiv 2006.11239)."""

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
from weit_rl.common.registry import unknown
from weit_rl.common.sizes import Size
from weit_rl.core.composed_network import eval_mode
from weit_rl.core.plan import Plan
from weit_rl.data.images import Images
from weit_rl.data.images.parts import Part, Unread
from weit_rl.models import MODELS, dit, models_of
from weit_rl.models.registry import chosen_options
from weit_rl.tasks.latents import Latents, Pixels
from weit_rl.tasks.noise import Noise
from weit_rl.tasks.pictures import grid_of
from weit_rl.tasks.sample_quality import Judge, check_count, quality_of
from weit_rl.tasks.sampling import check_steps, denoise, guided, scheduler_of, training_scheduler

NAME = "diffusion"
PARTS = ("train", "held_out", "test")
AT_ONCE = 256  # images of a batch in evaluation
SHOWN, CLASSES = 8, 20  # images of a class in a picture, and the most classes
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
        timesteps: of the noise, whose variances rise linearly from 1e-4 to 0.02 (with fewer than 1000 as much steeper).
        flip: whether half of the images are mirrored left to right.
        seed: of the batches.
        device: where networks and batches live.
        workers: processes that read images ahead; 0 for none.
        autoencoder: folder of an AutoencoderKL of diffusers, in whose latents images are denoised; None for pixels.
        features: run of a classifier, or ``"inception"``, by whose features drawn images are compared with the test
            images; None for none.
        samples: images that are drawn for it.
        scheduler: of drawing, a name in ``SCHEDULERS``.
        sampling_steps: of the scheduler.
        guidance: how far beyond the network's answer without a label its answer with one is followed.
        data_images: how many training images there are, the same in every run; None takes all.
        model_options: further options of the model's constructor, which replace those above.
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
    """Denoising of one set of images.

    Its measure is the signal-to-noise ratio of the predicted noise in decibels, ``-10 log10`` of the squared error.

    Args:
        images: the set.
        config: options.

    Raises:
        UserError: for a model that is for something else, numbers out of their range, a classifier that does not fit,
            or without diffusers.
    """

    measure = "psnr"

    def __init__(self, images: Images, config: DiffusionConfig):
        if MODELS.get(config.model).task != NAME:
            raise unknown("model of diffusion", config.model, models_of(NAME))
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
        """The label that stands for none."""
        return len(self.images.classes)

    def options(self) -> dict[str, Any]:
        """What the model's constructor needs besides the size (kept in checkpoints)."""
        return {
            "image_size": self.space.shape[1],
            "channels": self.space.shape[0],
            "classes": self.none,
            **chosen_options(self.config.model, self.config, dit.build, self.config.model_options),
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
        if self.config.autoencoder is not None:
            pixels = {"image_size": self.images.image_size, "channels": self.images.channels}
            card |= {"autoencoder": self.config.autoencoder, "pixels": pixels}
        return card | {"data": self.name, "classes": list(self.images.classes), "timesteps": self.config.timesteps}

    def batch(self, step: int) -> dict[str, Tensor]:
        """``batch_size`` images of the step, noised; every image comes once an epoch.

        Returns:
            ``images`` (B, C, H, W) float32, the noised ones, ``timesteps`` (B,) int64, ``labels`` (B,) int64, some of
            them none, and ``noise`` like the images, which is wanted of a network.
        """
        return self._noise.batch(step)

    def run(self, net: Any) -> None:
        """Run a network on a sample of the training images, the same for every network and seed."""
        batch = self._noise.sample()
        net(*(batch[name] for name in INPUTS))

    def domains(self) -> list[Callable[[Any, int], Tensor]] | None:
        """None: it is a single set."""
        return None

    def loss(self, net: Any, batch: dict[str, Tensor]) -> Tensor:
        """Mean squared error of the noise."""
        return F.mse_loss(net(*(batch[name] for name in INPUTS)), batch["noise"])

    def validation_loss(self, net: Any, batches: int = 10) -> float:
        """The loss on up to so many batches of held-out images, with all labels and always the same noise."""
        part = self.space.part("held_out")
        drawn = np.random.default_rng(0).permutation(len(part))[: batches * AT_ONCE]  # folders are sorted by class
        return self._error(net, part.subset(np.sort(drawn)))

    def evaluate(self, net: nn.Module, episodes: int = 0, seed: int = 0, part: str = "test") -> dict[str, Any]:
        """The denoising error on all images of a part; of the test images also how near drawn ones are to them.

        Args:
            net: a plain network.
            episodes: not looked at.
            seed: of the images that are drawn, where there is a classifier to judge them.
            part: ``"test"`` (default), or ``"held_out"`` to choose by.
        """
        if part not in PARTS:
            raise unknown("part of the images", part, list(PARTS))
        images = self.space.part(part)
        loss = self._error(net, images)
        found = {"psnr": -10 * math.log10(loss), "loss": loss, "images": len(images)}
        return found | (self._quality(net, seed) if part == "test" else {})

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
        """No further number, and a PNG of a few images of every class (the first 20), drawn as the config says."""
        labels, config = torch.arange(min(self.none, CLASSES)).repeat_interleave(SHOWN), self.config
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
            UserError: for another scheduler, more steps than there are time steps, or guidance by a network that always
                saw labels.
        """
        check_guidance(self.config, guidance)
        how, generator = scheduler_of(scheduler, self.scheduler), torch.Generator().manual_seed(seed)
        noises, drawn = torch.randn((len(labels), *self.space.shape), generator=generator), []
        with eval_mode(net):
            for start, some in zip(noises.split(AT_ONCE), labels.split(AT_ONCE), strict=True):
                noise = guided(net, some.to(self.config.device), self.none, guidance)
                images = denoise(noise, how, start.to(self.config.device), steps, generator)
                drawn.append(self.space.decode(images))
        return torch.cat(drawn)

    @torch.no_grad()
    def _error(self, net: Any, part: Part | Unread) -> float:
        generator, total, count = torch.Generator().manual_seed(0), 0.0, 0
        with eval_mode(net):
            for some in part.chunks(AT_ONCE, self.config.workers):
                total += float(self.loss(net, self._noise.added(some, generator))) * len(some)
                count += len(some)
        return total / count

    def _latents(self) -> Latents:
        config = self.config
        return Latents(self.images, str(config.autoencoder), config.flip, config.device, config.workers)


def check_guidance(config: DiffusionConfig, guidance: float) -> None:
    """UserError for guidance by a network that always sees labels."""
    if config.label_dropout == 0 and guidance != 1:
        raise UserError(f"guidance={guidance}: with label_dropout=0 nothing is learned without labels; give guidance=1")
