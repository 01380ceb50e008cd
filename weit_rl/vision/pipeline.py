"""Wrap finished runs of ``task=diffusion`` as a diffusers pipeline, which saves, loads and samples like others.

A saved pipeline is safetensors and JSON. Loading it runs only code of weit_rl and diffusers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline, DiTTransformer2DModel, ModelMixin
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor

from weit_rl.common.errors import UserError
from weit_rl.storage.atomic_write import write_atomically
from weit_rl.tasks.sampling import check_scheduler, denoise, guided_noise, scheduler_of, training_scheduler
from weit_rl.workflows.image_runs import diffusion_run, labels_of, network_of

LIBRARIES = ("diffusers", __name__)  # a saved pipeline may name classes of these
README = """---
library_name: diffusers
---
# A diffusion transformer in pixels, trained by weit_rl

    pip install "weit_rl[vision]"

    from weit_rl.vision import PixelDiTPipeline

    pipeline = PixelDiTPipeline.from_pretrained("FOLDER")
    pipeline([0, 1], guidance_scale=1.5, num_inference_steps=20).images

After `import weit_rl.vision.pipeline`, `diffusers.DiffusionPipeline.from_pretrained("FOLDER")` loads the same pipeline.
This folder holds no code, so `trust_remote_code` is not needed. `pipeline.scheduler` may be any diffusers scheduler for
networks that predict noise, made by `from_config(pipeline.scheduler.config)`. Flow matching schedulers do not work.
"""
HUB = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token")  # options of downloads


_BASE = ModelMixin  # diffusers looks this name up to load a PixelDiT


class PixelDiT(DiTTransformer2DModel):
    """diffusers' transformer with trained positions, which are saved with the weights.

    ``DiTTransformer2DModel.from_pretrained`` also reads the file. It warns and leaves out ``pos_embed.pos_embed``,
    since its own positions are sines. Copy that table into its buffer of the same name for the same outputs.
    """

    @functools.wraps(DiTTransformer2DModel.__init__)  # type: ignore[misc]  # diffusers reads the options from this signature
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.pos_embed.register_buffer("pos_embed", self.pos_embed.pos_embed, persistent=True)

    @classmethod
    def of(cls, net: Any) -> PixelDiT:
        """Convert a network of ``model=dit``, whose positions are a parameter."""
        own = cls.from_config(net.config)
        own.load_state_dict(net.state_dict())
        return own.eval()


class PixelDiTPipeline(DiffusionPipeline):
    """A pipeline that samples images of classes in pixels: ``DiTPipeline`` without an autoencoder.

    Args:
        transformer: network for the classes ``0`` to ``num_embeds_ada_norm - 1``; the next label stands for no class.
        scheduler: diffusers scheduler of a class in ``weit_rl.tasks.sampling.NOISE_SCHEDULERS``.
        id2label: names of the classes by number (default None: no names).
    """

    model_cpu_offload_seq = "transformer"

    def __init__(self, transformer: DiTTransformer2DModel, scheduler: Any, id2label: dict[Any, str] | None = None):
        super().__init__()
        check_scheduler(scheduler)
        self.register_modules(transformer=transformer, scheduler=scheduler)
        self._betas = scheduler.betas
        self.register_to_config(id2label=id2label)
        self.labels = {name: int(number) for number, name in (id2label or {}).items()}
        self.image_processor = VaeImageProcessor(vae_scale_factor=1)

    @classmethod
    def from_pretrained(cls, path: Any, **options: Any) -> PixelDiTPipeline:
        """Read a saved pipeline; only safetensors and JSON are read.

        Args:
            path: its folder, or its name on the Hugging Face hub.
            options: options of ``DiffusionPipeline.from_pretrained``.

        Raises:
            UserError: if there is no pipeline, it holds Python files, or it names other libraries than diffusers and
                weit_rl.
        """
        try:
            config = cls.load_config(path, **{name: options[name] for name in HUB if name in options})
        except OSError as error:
            raise UserError(f"{path}: no pipeline can be read there; give the folder of mode=export") from error
        if any(Path(path).glob("*/*.py")):  # older versions of diffusers run these without asking
            raise UserError(f"{path}: has Python files in it, which are not run; remove them or take another pipeline")
        for name, library in ((name, value[0]) for name, value in config.items() if isinstance(value, list)):
            if library not in LIBRARIES:
                raise UserError(f"{path}: its {name} is of {library!r}; only {' and '.join(LIBRARIES)} are loaded")
        return super().from_pretrained(path, **{"use_safetensors": True, **options})

    @classmethod
    def from_run(cls, run: str | Path, checkpoint: str = "last", scheduler: str = "ddim") -> PixelDiTPipeline:
        """Make the pipeline of a finished run of ``task="diffusion"``; ``save_pretrained(folder)`` writes it.

        Args:
            run: folder of the run.
            checkpoint: ``"last"`` (default) or ``"best"``.
            scheduler: ``"ddim"`` (default), ``"ddpm"`` or ``"dpmsolver++"``.

        Raises:
            UserError: for an unknown run, checkpoint or scheduler, or a run in latents.
        """
        net, card = network_of(diffusion_run(run), checkpoint, "cpu")
        if "autoencoder" in card:
            raise UserError(f"run={run}: samples latents of {card['autoencoder']}; only runs in pixels are exported")
        how = scheduler_of(scheduler, training_scheduler(card["timesteps"]))
        return cls(PixelDiT.of(net), how, {str(number): name for number, name in enumerate(card["classes"])})

    def save_pretrained(self, save_directory: Any, *args: Any, **options: Any) -> None:
        """Write the pipeline as diffusers does, with a README on how to load it."""
        super().save_pretrained(save_directory, *args, **options)
        write_atomically(Path(save_directory) / "README.md", README.encode())

    def get_label_ids(self, label: Any) -> list[int]:
        """Return the numbers of classes given by name or number, or of a single one; UserError for an unknown class."""
        count = self.transformer.config.num_embeds_ada_norm
        names = list(self.labels) or [str(number) for number in range(count)]
        label = [label] if isinstance(label, int | str) else label
        if not len(label):
            raise UserError(f"class_labels: none is named; name some of {', '.join(names)}")
        return [one if isinstance(one, int) and 0 <= one < count else labels_of([one], names)[0] for one in label]

    @torch.no_grad()
    def __call__(
        self,
        class_labels: Sequence[Any] | str | int,
        guidance_scale: float = 1.5,
        generator: torch.Generator | list[torch.Generator] | None = None,
        num_inference_steps: int = 50,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> Any:
        """Sample one image per label.

        Args:
            class_labels: names or numbers of classes, or a single one.
            guidance_scale: weight of the label in classifier-free guidance; 1 is the plain conditional prediction
                (default 1.5).
            generator: generator of all random numbers, or one per image (default: torch's own).
            num_inference_steps: steps of the scheduler (default 50).
            output_type: ``"pil"`` (default), ``"np"``, ``(n, H, W, C)`` in [0, 1], or ``"pt"``, ``(n, C, H, W)``.
            return_dict: True (default) returns an ``ImagePipelineOutput``, False a tuple of the images.

        Raises:
            UserError: for an unknown class, less than one step, or more steps than training had.
        """
        self._check_noise()
        net, device = self.transformer, self._execution_device
        labels = torch.tensor(self.get_label_ids(class_labels), device=device)
        shape = (len(labels), net.config.in_channels, net.config.sample_size, net.config.sample_size)
        images = randn_tensor(shape, generator=generator, device=device, dtype=net.dtype)
        noise = guided_noise(self._noise, labels, net.config.num_embeds_ada_norm, guidance_scale)
        images = denoise(noise, self.scheduler, images, num_inference_steps, generator, self.progress_bar)
        shown = self.image_processor.postprocess(images.clamp(-1, 1), output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=shown) if return_dict else (shown,)

    def _check_noise(self) -> None:
        """Raise UserError if the scheduler was replaced by one with other variances."""
        check_scheduler(self.scheduler)
        betas = self.scheduler.betas
        if betas.shape != self._betas.shape or not torch.allclose(betas, self._betas.to(betas)):
            name = type(self.scheduler).__name__
            raise UserError(
                f"scheduler {name}: expects other noise; take {name}.from_config(pipeline.scheduler.config)"
            )

    def _noise(self, images: torch.Tensor, times: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.transformer(images, times, labels, return_dict=False)[0]


# DiffusionPipeline.from_pretrained looks the class up by this name, once this module is imported.
diffusers.PixelDiTPipeline = PixelDiTPipeline
