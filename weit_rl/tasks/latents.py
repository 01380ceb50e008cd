"""Convert between images and what diffusion denoises: pixels, or an autoencoder's latents (arXiv 2112.10752)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.data.images import Images
from weit_rl.data.images.parts import ImagesInMemory, ImagesOnDemand

AT_ONCE = 32  # images per call of an autoencoder
KIND = "AutoencoderKL"


class Pixels:
    """The space of pixels, scaled to [-1, 1].

    Args:
        images: the set of images.

    Attributes:
        shape: shape of what is denoised, ``(channels, height, width)``.
        bounded: if it lies in [-1, 1], so that a scheduler may clip it.
    """

    bounded = True

    def __init__(self, images: Images):
        self.images = images
        self.shape: tuple[int, ...] = images.train.shape

    def part(self, name: str) -> ImagesInMemory | ImagesOnDemand:
        """Return the part ``"train"``, ``"held_out"`` or ``"test"``, for :meth:`clean`."""
        part: ImagesInMemory | ImagesOnDemand = getattr(self.images, name)
        return part

    def clean(self, part: ImagesInMemory, turned: Tensor | None = None) -> Tensor:
        """Return a part in this space, without noise.

        Args:
            part: images of :meth:`part`.
            turned: which of them to mirror left to right, ``(n,)`` bool (default None: none).

        Returns:
            ``(n, *shape)`` float32.
        """
        clean = torch.from_numpy(part.pixels) / 127.5 - 1
        return clean if turned is None else torch.where(turned[:, None, None, None], clean.flip(-1), clean)

    def decode(self, clean: Tensor) -> Tensor:
        """Convert back to images ``(n, C, H, W)`` uint8, on the CPU."""
        return ((clean.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


class Latents(Pixels):
    """The space of an autoencoder's latents: their means, in the autoencoder's scale.

    A part is encoded once, when it is first needed. Its latents stay in memory in half precision. If images are to be
    mirrored, the latents of mirrored images stay in memory, too.

    Args:
        images: the set of images.
        path: folder of a diffusers AutoencoderKL with safetensors.
        flip: if images are to be mirrored (default False).
        device: device of the autoencoder (default "cpu").
        workers: processes that read images which are not in memory (default 0).

    Raises:
        UserError: if there is no such autoencoder, or it takes images of another shape.
    """

    bounded = False

    def __init__(self, images: Images, path: str, flip: bool = False, device: str = "cpu", workers: int = 0):
        super().__init__(images)
        self._net, self._device, self._flips, self._workers = autoencoder(path).to(device), device, 1 + flip, workers
        self._parts: dict[str, ImagesInMemory] = {}
        config, factor = self._net.config, 2 ** (len(self._net.config.block_out_channels) - 1)
        if config.in_channels != images.channels or config.out_channels != images.channels:
            raise UserError(
                f"autoencoder={path}: takes images of {config.in_channels} channels, these have {images.channels}; "
                f"give channels={config.in_channels}"
            )
        if images.image_size % factor:
            raise UserError(f"autoencoder={path}: needs an image_size that {factor} divides, not {images.image_size}")
        self._shift, self._scale = config.shift_factor or 0.0, config.scaling_factor
        self.shape = (config.latent_channels, *(images.image_size // factor,) * 2)

    def part(self, name: str) -> ImagesInMemory:
        """Return a part's latents ``(n, 1 or 2, *shape)`` float16, of images and mirrored images, and its labels."""
        if name not in self._parts:
            encoded = [self._encoded(some) for some in super().part(name).chunks(AT_ONCE, self._workers)]
            pixels, labels = (np.concatenate(each) for each in zip(*encoded, strict=True))
            self._parts[name] = ImagesInMemory(pixels, labels)
        return self._parts[name]

    def clean(self, part: ImagesInMemory, turned: Tensor | None = None) -> Tensor:
        """Return a part in this space, see :meth:`Pixels.clean`."""
        which = np.zeros(len(part), int) if turned is None else turned.numpy().astype(int)
        return torch.from_numpy(part.pixels[np.arange(len(part)), which]).float()

    @torch.no_grad()
    def decode(self, clean: Tensor) -> Tensor:
        """Convert back to images, see :meth:`Pixels.decode`."""
        latents = clean / self._scale + self._shift
        return torch.cat([super(Latents, self).decode(self._net.decode(x).sample) for x in latents.split(AT_ONCE)])

    @torch.no_grad()
    def _encoded(self, part: ImagesInMemory) -> tuple[np.ndarray, np.ndarray]:
        images = super().clean(part).to(self._device)
        both = [self._net.encode(x).latent_dist.mode() for x in (images, images.flip(-1))[: self._flips]]
        return ((torch.stack(both, 1) - self._shift) * self._scale).half().cpu().numpy(), part.labels


def autoencoder(path: str) -> Any:
    """Load a diffusers AutoencoderKL from a folder, in evaluation mode; only safetensors are read.

    Raises:
        UserError: if the folder holds none.
    """
    import diffusers

    folder = expand_home(path)
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_class_name")
        if kind != KIND:
            raise UserError(f"autoencoder={path}: holds a {kind}, not an {KIND}; give a folder of an {KIND}")
        how = {"use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": False}
        net = diffusers.AutoencoderKL.from_pretrained(folder, **how)
    except UserError:
        raise
    except Exception as error:  # diffusers, safetensors and json raise many types for missing or damaged files
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"autoencoder={path}: cannot be read ({reason}); give a folder of an {KIND}") from error
    return net.eval().requires_grad_(False)
