"""Sample images from noise with diffusers' schedulers and classifier-free guidance (arXiv 2207.12598)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {  # diffusers' class, and its options for pixels in [-1, 1]
    "ddim": ("DDIMScheduler", {}),  # arXiv 2010.02502
    "ddpm": ("DDPMScheduler", {}),  # arXiv 2006.11239
    # thresholding clips the predicted image to [-1, 1], as the other two do by default
    "dpmsolver++": ("DPMSolverMultistepScheduler", {"thresholding": True}),  # arXiv 2211.01095
}
BETAS, BETAS_OF = {"start": 1e-4, "end": 0.02}, 1000  # variances of the first and last of 1000 steps
MOST = 0.999  # a variance of 1 would divide by zero
NOISE_SCHEDULERS = (  # diffusers' schedulers for networks that predict noise at DDPM's time steps, as ours do
    *("DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler", "PNDMScheduler"),
    *("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler", "DEISMultistepScheduler"),
    *("UniPCMultistepScheduler", "SASolverScheduler", "LMSDiscreteScheduler", "HeunDiscreteScheduler"),
    *("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"),
    *("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"),
)
# with as many steps as training had, these take one step twice and divide by zero
REPEAT = {"DPMSolverMultistepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler", "SASolverScheduler"}


def diffusers_schedulers() -> Any:
    """Import diffusers; UserError if it is not installed."""
    try:
        import diffusers
    except ImportError as error:
        raise UserError(f"diffusion needs diffusers ({error}): pip install 'weit_rl[vision]'") from error
    return diffusers


def training_scheduler(timesteps: int, clipped: bool = True) -> Any:
    """Make the scheduler of training, whose variances rise linearly from 1e-4 to 0.02 in 1000 steps.

    With fewer steps the variances rise faster, so that the last step is pure noise whatever the number of steps.

    Args:
        timesteps: number of steps.
        clipped: if what is denoised lies in [-1, 1], as pixels do (default True).
    """
    rise = {f"beta_{end}": min(beta * BETAS_OF / timesteps, MOST) for end, beta in BETAS.items()}
    # by keyword: diffusers takes positional values for defaults, which other schedulers do not take over
    return diffusers_schedulers().DDPMScheduler(num_train_timesteps=timesteps, clip_sample=clipped, **rise)


def scheduler_of(name: str, trained: Any) -> Any:
    """Make the diffusers scheduler that samples with a trained network.

    Args:
        name: name in ``SCHEDULERS``.
        trained: the scheduler of training; if it clips to [-1, 1], the new one clips, too.

    Raises:
        UserError: for an unknown name.
    """
    if name not in SCHEDULERS:
        raise unknown_name_error("scheduler", name, list(SCHEDULERS))
    kind, clipped = SCHEDULERS[name]
    options = clipped if trained.config.clip_sample else {}
    return getattr(diffusers_schedulers(), kind).from_config(trained.config, **options)


def check_scheduler(scheduler: Any) -> None:
    """Raise UserError for a scheduler of networks that predict something else than noise, such as a velocity."""
    name = type(scheduler).__name__
    if not _kinds(scheduler) & {*NOISE_SCHEDULERS}:
        known = ", ".join(NOISE_SCHEDULERS)
        raise UserError(f"scheduler {name}: the network predicts noise, which it does not support; use {known}")
    predicts = scheduler.config.get("prediction_type", "epsilon")
    if predicts != "epsilon":
        raise UserError(f"scheduler {name}: prediction_type={predicts}, the network predicts noise; give it 'epsilon'")


def check_steps(steps: int, scheduler: Any) -> None:
    """Raise UserError for less than one step, or more steps than training had."""
    if steps < 1:
        raise UserError(f"steps={steps}: must be 1 or more")
    known, name = scheduler.config.num_train_timesteps, type(scheduler).__name__
    if steps > known:
        raise UserError(f"steps={steps}: the network was trained with {known} (timesteps); use at most that many")
    if steps > 1 and steps == known and _kinds(scheduler) & REPEAT:
        word = next((word for word, (kind, _) in SCHEDULERS.items() if kind == name), name)
        raise UserError(f"steps={steps}: scheduler={word} needs fewer steps than training had, {steps}; or use ddim")


def _kinds(scheduler: Any) -> set[str]:
    """Return the names of a scheduler's class and its base classes."""
    return {kind.__name__ for kind in type(scheduler).__mro__}


def guided_noise(
    net: Callable[..., Tensor], labels: Tensor, none: int, guidance: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """Make the function that predicts the noise with classifier-free guidance.

    Args:
        net: network, called with images, time steps ``(n,)`` and labels ``(n,)``.
        labels: class of each image, on the images' device.
        none: the label that stands for no class.
        guidance: weight w in ``without + w * (with - without)`` of the predictions with and without labels; 1 is the
            plain conditional prediction.

    Returns:
        ``noise(images, time)``.
    """

    def noise(images: Tensor, time: Tensor) -> Tensor:
        times = time.to(images.device).expand(len(images))
        conditional = net(images, times, labels)
        if guidance == 1:
            return conditional
        unconditional = net(images, times, torch.full_like(labels, none))
        return unconditional + guidance * (conditional - unconditional)

    return noise


def denoise(
    noise: Callable[[Tensor, Tensor], Tensor],
    scheduler: Any,
    images: Tensor,
    steps: int,
    generator: Any = None,
    watched: Callable[[Tensor], Iterable[Tensor]] = iter,
) -> Tensor:
    """Denoise images step by step.

    Args:
        noise: predicts the noise, ``noise(images, time)``.
        scheduler: diffusers scheduler, one of ``NOISE_SCHEDULERS``.
        images: noise of unit variance, ``(n, C, H, W)``.
        steps: steps of the scheduler.
        generator: generator of the noise that some schedulers add (default: torch's own).
        watched: wraps the time steps, such as a progress bar (default: nothing).

    Returns:
        Images ``(n, C, H, W)``, about in [-1, 1].

    Raises:
        UserError: for a scheduler of other networks, less than one step, more steps than training had, or images that
            are not finite.
    """
    check_scheduler(scheduler)
    check_steps(steps, scheduler)
    scheduler.set_timesteps(steps)
    # DDIM clips the predicted image to [-1, 1]. It must also compute the noise from the clipped image: guidance makes
    # early predictions too strong, and noise of the unclipped image would then lead in the opposite direction.
    wanted = {"use_clipped_model_output": True, "generator": generator}
    taken = {name: wanted[name] for name in wanted if name in inspect.signature(scheduler.step).parameters}
    images = images * scheduler.init_noise_sigma
    for time in watched(scheduler.timesteps):
        seen = scheduler.scale_model_input(images, time)
        images = scheduler.step(noise(seen, time), time, images, **taken).prev_sample
    if not torch.isfinite(images).all():
        name = type(scheduler).__name__
        raise UserError(f"steps={steps}: {name} makes images that are not finite; use fewer steps, or DDIMScheduler")
    return images
