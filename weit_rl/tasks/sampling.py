"""How images are made of noise: diffusers' schedulers, and guidance without a classifier (arXiv 2207.12598)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {  # diffusers' class, and its options for what lies in [-1, 1]
    "ddim": ("DDIMScheduler", {}),  # arXiv 2010.02502
    "ddpm": ("DDPMScheduler", {}),  # arXiv 2006.11239
    # its thresholding clips to [-1, 1] what the image is taken for, as the others do unasked
    "dpmsolver++": ("DPMSolverMultistepScheduler", {"thresholding": True}),  # arXiv 2211.01095
}
BETAS, BETAS_OF = {"start": 1e-4, "end": 0.02}, 1000  # variances of the first and the last step, and of how many steps
MOST = 0.999  # a variance of 1 would leave nothing to divide by
OF_NOISE = (  # diffusers' classes that make images of a network that predicts noise by DDPM's time steps, as ours do
    *("DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler", "PNDMScheduler"),
    *("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler", "DEISMultistepScheduler"),
    *("UniPCMultistepScheduler", "SASolverScheduler", "LMSDiscreteScheduler", "HeunDiscreteScheduler"),
    *("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"),
    *("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"),
)
# in as many steps as there are they take one twice, and divide by zero
REPEAT = {"DPMSolverMultistepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler", "SASolverScheduler"}


def diffusers_schedulers() -> Any:
    """The library; raises UserError where it is not installed."""
    try:
        import diffusers
    except ImportError as error:
        raise UserError(f"diffusion needs diffusers ({error}): pip install 'weit_rl[vision]'") from error
    return diffusers


def training_scheduler(timesteps: int, clipped: bool = True) -> Any:
    """The noise of training: variances that rise linearly from 1e-4 to 0.02 in 1000 steps, in fewer as much steeper.

    The last step leaves nothing of an image, however many there are.

    Args:
        timesteps: how many.
        clipped: whether what is denoised lies in [-1, 1] (default True), as pixels do.
    """
    rise = {f"beta_{end}": min(beta * BETAS_OF / timesteps, MOST) for end, beta in BETAS.items()}
    # by its name: what is given by position counts as a default, which diffusers' other schedulers do not take over
    return diffusers_schedulers().DDPMScheduler(num_train_timesteps=timesteps, clip_sample=clipped, **rise)


def scheduler_of(name: str, trained: Any) -> Any:
    """A scheduler of diffusers for the noise that a network was trained with.

    Args:
        name: in ``SCHEDULERS``.
        trained: the scheduler of its training; what it clips to [-1, 1], others clip, too.

    Raises:
        UserError: for another name.
    """
    if name not in SCHEDULERS:
        raise unknown("scheduler", name, list(SCHEDULERS))
    kind, clipped = SCHEDULERS[name]
    options = clipped if trained.config.clip_sample else {}
    return getattr(diffusers_schedulers(), kind).from_config(trained.config, **options)


def check_scheduler(scheduler: Any) -> None:
    """UserError for a scheduler that is for other networks, such as those that predict a velocity."""
    name = type(scheduler).__name__
    if not _kinds(scheduler) & {*OF_NOISE}:
        raise UserError(f"scheduler {name}: the network predicts noise, which it is not for; use {', '.join(OF_NOISE)}")
    predicts = scheduler.config.get("prediction_type", "epsilon")
    if predicts != "epsilon":
        raise UserError(f"scheduler {name}: prediction_type={predicts}, the network predicts noise; give it 'epsilon'")


def check_steps(steps: int, scheduler: Any) -> None:
    """UserError for no step, or more than the network of a scheduler was trained with."""
    if steps < 1:
        raise UserError(f"steps={steps}: must be 1 or more")
    known, name = scheduler.config.num_train_timesteps, type(scheduler).__name__
    if steps > known:
        raise UserError(f"steps={steps}: the network knows {known} (timesteps); ask for no more")
    if steps > 1 and steps == known and _kinds(scheduler) & REPEAT:
        word = next((word for word, (kind, _) in SCHEDULERS.items() if kind == name), name)
        raise UserError(f"steps={steps}: scheduler={word} takes fewer than the network knows, {steps}; use ddim")


def _kinds(scheduler: Any) -> set[str]:
    """The names of a scheduler's class and of those it is made of."""
    return {kind.__name__ for kind in type(scheduler).__mro__}


def guided(
    net: Callable[..., Tensor], labels: Tensor, none: int, guidance: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """The noise that a network sees in images of these labels at a time, drawn away from what it sees without them.

    Args:
        net: called with images, time steps ``(n,)`` and labels ``(n,)``.
        labels: what is wanted of each image, on the images' device.
        none: the label that stands for none.
        guidance: how far beyond the answer without a label that with one is followed; 1 uses the latter alone.
    """

    def noise(images: Tensor, time: Tensor) -> Tensor:
        times = time.to(images.device).expand(len(images))
        told = net(images, times, labels)
        if guidance == 1:
            return told
        untold = net(images, times, torch.full_like(labels, none))
        return untold + guidance * (told - untold)

    return noise


def denoise(
    noise: Callable[[Tensor, Tensor], Tensor],
    scheduler: Any,
    images: Tensor,
    steps: int,
    generator: Any = None,
    watched: Callable[[Tensor], Iterable[Tensor]] = iter,
) -> Tensor:
    """Images of noise, made clean step by step, about in [-1, 1].

    Args:
        noise: the noise in images at a time.
        scheduler: of diffusers, one of ``OF_NOISE``.
        images: ``(n, C, H, W)`` of unit variance.
        steps: of the scheduler.
        generator: of the noise that some schedulers add on the way (default: torch's own).
        watched: goes through the time steps, such as a progress bar (default: unseen).

    Raises:
        UserError: for a scheduler of other networks, no step, more than the network was trained with, or steps whose
            images are not finite.
    """
    check_scheduler(scheduler)
    check_steps(steps, scheduler)
    scheduler.set_timesteps(steps)
    # An image is clipped to [-1, 1]; were DDIM's noise not what is left beside it, too strong an answer early on,
    # which guidance makes stronger, would lead the other way.
    wanted = {"use_clipped_model_output": True, "generator": generator}
    taken = {name: wanted[name] for name in wanted if name in inspect.signature(scheduler.step).parameters}
    images = images * scheduler.init_noise_sigma
    for time in watched(scheduler.timesteps):
        seen = scheduler.scale_model_input(images, time)
        images = scheduler.step(noise(seen, time), time, images, **taken).prev_sample
    if not torch.isfinite(images).all():
        name = type(scheduler).__name__
        raise UserError(f"steps={steps}: {name} makes images that are not finite; take fewer steps, or DDIMScheduler")
    return images
