"""Finished runs of ``task=diffusion`` as diffusers has them: a pipeline that saves, loads and is called as its own do.

What is saved are safetensors and JSON; loading them runs no code but ours and diffusers'.
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

LIBRARIES = ("diffusers", __name__)  # whose classes a saved pipeline may name
README = """---
library_name: diffusers
---
# A diffusion transformer in pixels, of weit_rl

    pip install "weit_rl[vision]"

    from weit_rl.vision import PixelDiTPipeline

    pipeline = PixelDiTPipeline.from_pretrained("FOLDER")
    pipeline([0, 1], guidance_scale=1.5, num_inference_steps=20).images

Once `weit_rl.vision.pipeline` is imported, `diffusers.DiffusionPipeline.from_pretrained("FOLDER")` gives the same.
Nothing here is code, so `trust_remote_code` is not needed. `pipeline.scheduler` may be any of diffusers' for networks
that predict noise, made by `from_config(pipeline.scheduler.config)`; flow matching is not for it.
"""
HUB = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token")  # options of any file


_BASE = ModelMixin  # diffusers looks it up in this module, as the class it has to load a PixelDiT like


class PixelDiT(DiTTransformer2DModel):
    """diffusers' transformer whose positions, which training changes here, are saved with the weights.

    ``DiTTransformer2DModel.from_pretrained`` reads it too, and leaves the table ``pos_embed.pos_embed`` of the file
    out with a warning: its own is of sines. Copy that table into its buffer of the same name for the same answers.
    """

    @functools.wraps(DiTTransformer2DModel.__init__)  # type: ignore[misc]  # by whose signature diffusers reads options
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.pos_embed.register_buffer("pos_embed", self.pos_embed.pos_embed, persistent=True)

    @classmethod
    def of(cls, net: Any) -> PixelDiT:
        """The same network as ``model=dit`` builds, where positions are a parameter."""
        own = cls.from_config(net.config)
        own.load_state_dict(net.state_dict())
        return own.eval()


class PixelDiTPipeline(DiffusionPipeline):
    """Images of classes by a diffusion transformer in pixels; ``DiTPipeline`` without an autoencoder.

    Args:
        transformer: of the classes ``0`` to ``num_embeds_ada_norm - 1``; the next label stands for none.
        scheduler: diffusers scheduler of a class in ``weit_rl.tasks.sampling.NOISE_SCHEDULERS``.
        id2label: the names of the classes by their numbers (default: none).
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
        """Read a saved pipeline, safetensors alone.

        Args:
            path: its folder, or its name on the Hugging Face hub.
            options: of ``DiffusionPipeline.from_pretrained``.

        Raises:
            UserError: if there is none, or it holds Python files or names libraries besides diffusers and this one.
        """
        try:
            told = cls.load_config(path, **{name: options[name] for name in HUB if name in options})
        except OSError as error:
            raise UserError(f"{path}: no pipeline can be read there; give the folder of mode=export") from error
        if any(Path(path).glob("*/*.py")):  # which older versions of diffusers run unasked
            raise UserError(f"{path}: has Python files in it, which are not run; remove them or take another pipeline")
        for name, library in ((name, value[0]) for name, value in told.items() if isinstance(value, list)):
            if library not in LIBRARIES:
                raise UserError(f"{path}: its {name} is of {library!r}; only {' and '.join(LIBRARIES)} are loaded")
        return super().from_pretrained(path, **{"use_safetensors": True, **options})

    @classmethod
    def from_run(cls, run: str | Path, checkpoint: str = "last", scheduler: str = "ddim") -> PixelDiTPipeline:
        """The pipeline of a finished run of ``task="diffusion"``; ``save_pretrained(folder)`` writes it.

        Args:
            run: its folder.
            checkpoint: ``"last"`` (default) or ``"best"``.
            scheduler: ``"ddim"`` (default), ``"ddpm"`` or ``"dpmsolver++"``.

        Raises:
            UserError: if there is no such run, checkpoint or scheduler.
        """
        net, card = network_of(diffusion_run(run), checkpoint, "cpu")
        if "autoencoder" in card:
            raise UserError(f"run={run}: draws latents of {card['autoencoder']}; only runs in pixels are exported")
        how = scheduler_of(scheduler, training_scheduler(card["timesteps"]))
        return cls(PixelDiT.of(net), how, {str(number): name for number, name in enumerate(card["classes"])})

    def save_pretrained(self, save_directory: Any, *args: Any, **options: Any) -> None:
        """Write the pipeline as diffusers does, with a README that says how it is read."""
        super().save_pretrained(save_directory, *args, **options)
        write_atomically(Path(save_directory) / "README.md", README.encode())

    def get_label_ids(self, label: Any) -> list[int]:
        """The numbers of classes that are given by name or number, or of one; UserError for one there is not."""
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
        """Draw one image for each label.

        Args:
            class_labels: names or numbers of classes, or one.
            guidance_scale: how far beyond the answer without a label that with one is followed (default 1.5; 1 uses
                the latter alone).
            generator: of all that is random, or one for each image (default: torch's own).
            num_inference_steps: of the scheduler (default 50).
            output_type: ``"pil"`` (default), ``"np"``, ``(n, H, W, C)`` in [0, 1], or ``"pt"``, ``(n, C, H, W)``.
            return_dict: whether to give an ``ImagePipelineOutput`` (default), or a tuple of the images alone.

        Raises:
            UserError: for a class it does not know, or steps that are none or more than it was trained with.
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
        """UserError for a scheduler that was put in place of the first one, and expects other noise."""
        check_scheduler(self.scheduler)
        betas = self.scheduler.betas
        if betas.shape != self._betas.shape or not torch.allclose(betas, self._betas.to(betas)):
            name = type(self.scheduler).__name__
            raise UserError(
                f"scheduler {name}: expects other noise; take {name}.from_config(pipeline.scheduler.config)"
            )

    def _noise(self, images: torch.Tensor, times: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.transformer(images, times, labels, return_dict=False)[0]


# The name by which DiffusionPipeline.from_pretrained looks a pipeline's class up, once this module is imported.
diffusers.PixelDiTPipeline = PixelDiTPipeline
