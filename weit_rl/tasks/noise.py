"""Draw batches for diffusion: images or latents with DDPM's noise."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weit_rl.data.epochs import Epochs
from weit_rl.data.images.parts import ImagesInMemory
from weit_rl.data.prefetch import Prefetcher
from weit_rl.tasks.latents import Pixels

SAMPLE = 256  # images of :meth:`Noise.sample`


class Noise:
    """A source of noised batches: ``images`` (B, C, H, W), ``timesteps`` (B,), ``labels`` (B,) and ``noise``.

    Args:
        space: pixels or latents.
        scheduler: diffusers scheduler that adds the noise.
        config: the task's options: ``timesteps``, ``label_dropout``, ``flip``, ``batch_size``, ``seed``, ``device``,
            ``workers``.
        none: the label that stands for no class.
    """

    def __init__(self, space: Pixels, scheduler: Any, config: Any, none: int):
        self.space, self.scheduler, self.config, self.none = space, scheduler, config, none
        self._ahead = Prefetcher(self._batch, config.workers if space.bounded else 0)  # latents are in memory already

    def batch(self, step: int) -> dict[str, Tensor]:
        """Draw the training batch of a step, with some labels hidden; every epoch has each image once."""
        return self._on_device(self._ahead(step))

    def sample(self) -> dict[str, Tensor]:
        """Draw a sample of the training images, always the same."""
        part = self.space.part("train")
        chosen = np.random.default_rng(0).permutation(len(part))[:SAMPLE]
        return self.add(part.read(chosen), torch.Generator().manual_seed(0))

    def add(self, part: ImagesInMemory, generator: torch.Generator) -> dict[str, Tensor]:
        """Add the generator's next noise to a part; all labels stay."""
        return self._on_device(self._noised(part, generator))

    @cached_property
    def _epochs(self) -> Epochs:
        return Epochs(len(self.space.part("train")), self.config.batch_size, self.config.seed)

    def _batch(self, step: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        batch = self._noised(self.space.part("train").read(self._epochs(step)), generator, self.config.flip)
        dropped = torch.rand(len(batch["labels"]), generator=generator) < self.config.label_dropout
        return batch | {"labels": torch.where(dropped, self.none, batch["labels"])}

    def _noised(self, part: ImagesInMemory, generator: torch.Generator, flip: bool = False) -> dict[str, Tensor]:
        turned = torch.rand(len(part), generator=generator) < 0.5 if flip else None
        clean, labels = self.space.clean(part, turned), torch.from_numpy(part.labels)
        times = torch.randint(self.config.timesteps, (len(clean),), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        noised = self.scheduler.add_noise(clean, noise, times)
        return {"images": noised, "timesteps": times, "labels": labels, "noise": noise}

    def _on_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.config.device) for name, tensor in batch.items()}
