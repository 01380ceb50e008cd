"""The two operators on a GPU: by the kernels where they run, otherwise by the reference, which is said once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from weit_rl.kernels import by_group


def compose(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    """``weit_rl::compose`` without gradients; see :func:`weit_rl.kernels.operator.compose`."""
    return implementation(scalers[0].device).compose(scalers, templates, roles, dtype)


def gradients(
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    """``weit_rl::compose_backward``: the gradients of all scalers, then of all templates, where they are wanted."""
    kernels = implementation(scalers[0].device)
    return kernels.gradients(grads, scalers, templates, roles, of_scalers, of_templates)


@cache
def implementation(device: torch.device) -> ModuleType:
    """``launch`` where a small composition by it is right, else ``by_group``, with one warning that says why."""
    try:
        from weit_rl.kernels import triton_launch as launch

        _try(launch, device)
    except torch.OutOfMemoryError:
        raise
    except (
        Exception
    ) as error:  # no Triton, no C compiler for its launcher, an old GPU or driver: each has its own class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"weit_rl composes weights on {device} without its kernels, slower: {reason}", stacklevel=2)
        return by_group
    return launch


def _try(kernels: ModuleType, device: torch.device) -> None:
    if torch.version.hip is not None or torch.cuda.get_device_capability(device) < (8, 0):
        raise RuntimeError("they are for NVIDIA GPUs of compute capability 8.0 and above")
    scalers, templates = [torch.ones(1, 2, 2, 2, device=device)], [torch.ones(2, 16, 16, device=device)]
    made = kernels.compose(scalers, templates, [0])
    same = kernels.gradients(made, scalers, templates, [0], True, True)
    if any(float(x.min()) != float(x.max()) for x in (*made, *same)) or float(made[0][0, 0]) != 2.0:
        raise RuntimeError("a small composition came out wrong")
