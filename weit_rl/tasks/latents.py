"""What diffusion denoises: images themselves, or what an autoencoder makes of them (arXiv 2112.10752)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weit_rl.common.errors import UserError
from weit_rl.common.home import expanded
from weit_rl.data.images import Images
from weit_rl.data.images.parts import Part, Unread

AT_ONCE = 32  # images that go through an autoencoder together
KIND = "AutoencoderKL"


class Pixels:
    """Images in [-1, 1].

    Attributes:
        shape: of what is denoised, ``(channels, height, width)``.
        bounded: whether it lies in [-1, 1], so that a scheduler may clip it.

    Args:
        images: the set.
    """

    bounded = True

    def __init__(self, images: Images):
        self.images = images
        self.shape: tuple[int, ...] = images.train.shape

    def part(self, name: str) -> Part | Unread:
        """``"train"``, ``"held_out"`` or ``"test"``, as :meth:`clean` takes it."""
        part: Part | Unread = getattr(self.images, name)
        return part

    def clean(self, part: Part, turned: Tensor | None = None) -> Tensor:
        """What is denoised ``(n, *shape)`` float32; of images that are ``turned``, ``(n,)`` bool, left to right."""
        clean = torch.from_numpy(part.pixels) / 127.5 - 1
        return clean if turned is None else torch.where(turned[:, None, None, None], clean.flip(-1), clean)

    def decode(self, clean: Tensor) -> Tensor:
        """Images ``(n, C, H, W)`` uint8 on the CPU."""
        return ((clean.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


class Latents(Pixels):
    """The means of an autoencoder's latents, in its scale; a part is encoded once, when it is first needed.

    They are held in memory, in half precision; where images are to be turned left to right, turned ones beside them.

    Args:
        images: the set.
        path: folder of an AutoencoderKL of diffusers, with safetensors.
        flip: whether images are to be turned.
        device: where the autoencoder computes.
        workers: processes that read images which are not in memory.

    Raises:
        UserError: if there is no such autoencoder, or it takes other images.
    """

    bounded = False

    def __init__(self, images: Images, path: str, flip: bool = False, device: str = "cpu", workers: int = 0):
        super().__init__(images)
        self._net, self._device, self._flips, self._workers = autoencoder(path).to(device), device, 1 + flip, workers
        self._parts: dict[str, Part] = {}
        config, factor = self._net.config, 2 ** (len(self._net.config.block_out_channels) - 1)
        if config.in_channels != images.channels or config.out_channels != images.channels:
            raise UserError(
                f"autoencoder={path}: is of images of {config.in_channels} channels, these have {images.channels}; "
                f"give channels={config.in_channels}"
            )
        if images.image_size % factor:
            raise UserError(f"autoencoder={path}: needs an image_size that {factor} divides, not {images.image_size}")
        self._shift, self._scale = config.shift_factor or 0.0, config.scaling_factor
        self.shape = (config.latent_channels, *(images.image_size // factor,) * 2)

    def part(self, name: str) -> Part:
        """Latents ``(n, 1 or 2, *shape)`` float16, of the images and of the turned ones, and their labels."""
        if name not in self._parts:
            encoded = [self._encoded(some) for some in super().part(name).chunks(AT_ONCE, self._workers)]
            pixels, labels = (np.concatenate(each) for each in zip(*encoded, strict=True))
            self._parts[name] = Part(pixels, labels)
        return self._parts[name]

    def clean(self, part: Part, turned: Tensor | None = None) -> Tensor:
        """See :meth:`Pixels.clean`."""
        which = np.zeros(len(part), int) if turned is None else turned.numpy().astype(int)
        return torch.from_numpy(part.pixels[np.arange(len(part)), which]).float()

    @torch.no_grad()
    def decode(self, clean: Tensor) -> Tensor:
        """See :meth:`Pixels.decode`."""
        latents = clean / self._scale + self._shift
        return torch.cat([super(Latents, self).decode(self._net.decode(x).sample) for x in latents.split(AT_ONCE)])

    @torch.no_grad()
    def _encoded(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        images = super().clean(part).to(self._device)
        both = [self._net.encode(x).latent_dist.mode() for x in (images, images.flip(-1))[: self._flips]]
        return ((torch.stack(both, 1) - self._shift) * self._scale).half().cpu().numpy(), part.labels


def autoencoder(path: str) -> Any:
    """diffusers' AutoencoderKL in a folder, for evaluation; nothing but safetensors is read.

    Raises:
        UserError: if there is none.
    """
    import diffusers

    folder = expanded(path)
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_class_name")
        if kind != KIND:
            raise UserError(f"autoencoder={path}: holds a {kind}, not an {KIND}; give the folder of such a one")
        how = {"use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": False}
        net = diffusers.AutoencoderKL.from_pretrained(folder, **how)
    except UserError:
        raise
    except Exception as error:  # whatever diffusers, safetensors and json raise for what is not there or damaged
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"autoencoder={path}: cannot be read ({reason}); give a folder of an {KIND}") from error
    return net.eval().requires_grad_(False)
