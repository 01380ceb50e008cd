"""The choice of a GPU's backend: Triton kernels if they work on that GPU, else the reference with one warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from weit_rl.kernels.reference import compose_reference, gradients_reference


class Backend(NamedTuple):
    """The two functions of a backend, with the arguments of ``compose_reference`` and ``gradients_reference``."""

    compose: Callable[..., list[Tensor]]
    gradients: Callable[..., list[Tensor]]


REFERENCE = Backend(compose_reference, gradients_reference)


def compose_on_gpu(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    """Compose all weights of a call; arguments and result are those of :func:`weit_rl.kernels.operator.compose`."""
    return gpu_backend(scalers[0].device).compose(scalers, templates, roles, dtype)


def gradients_on_gpu(
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    """Compute the gradients that :func:`weit_rl.kernels.reference.gradients_reference` defines."""
    backend = gpu_backend(scalers[0].device)
    return backend.gradients(grads, scalers, templates, roles, of_scalers, of_templates)


@cache
def gpu_backend(device: torch.device) -> Backend:
    """Return the Triton backend if it composes a small example correctly on the device, else the reference.

    Each device is tried once. A warning names the reason for the reference, which is slower.

    Raises:
        torch.OutOfMemoryError: if the GPU has no memory left for the example.
    """
    try:
        from weit_rl.kernels import triton

        backend = Backend(triton.compose_triton, triton.gradients_triton)
        _try(backend, device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # without Triton, its C compiler, a recent GPU or driver: each has its own class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"weit_rl composes weights on {device} without its Triton kernels, which is slower: {reason}", stacklevel=2
        )
        return REFERENCE
    return backend


def _try(backend: Backend, device: torch.device) -> None:
    """Compose a small example and its gradients.

    Raises:
        RuntimeError: if the GPU is not an NVIDIA GPU of capability 8.0 or above, or a result is wrong.
    """
    if torch.version.hip is not None or torch.cuda.get_device_capability(device) < (8, 0):
        raise RuntimeError("they need an NVIDIA GPU of compute capability 8.0 or above")
    scalers, templates = [torch.ones(1, 2, 2, 2, device=device)], [torch.ones(2, 16, 16, device=device)]
    weights = backend.compose(scalers, templates, [0])
    grads = backend.gradients(weights, scalers, templates, [0], True, True)
    if any(float(x.min()) != float(x.max()) for x in (*weights, *grads)) or float(weights[0][0, 0]) != 2.0:
        raise RuntimeError("a small composition came out wrong")
