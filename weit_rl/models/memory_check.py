"""The shapes and the memory of a network before it is built: a size from a file, or a typo, may need terabytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from weit_rl.common.errors import UserError
from weit_rl.storage.read_limits import machine_memory

BYTES = 4  # of a parameter


class _Unfilled(TorchFunctionMode):
    """A mode that skips filling tensors without memory, which would only cost time."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        target = args[0] if args else (kwargs or {}).get("tensor")
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and isinstance(target, torch.Tensor) and target.is_meta:
            return target
        return func(*args, **(kwargs or {}))


def parameter_shapes(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters and buffers that ``build()`` would make, by name, without their memory."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]), _Unfilled():
        return {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}


def check_fits_in_memory(build: Callable[[], nn.Module], what: str) -> None:
    """Raise UserError if the network that ``build()`` would make needs more memory than this machine has."""
    try:
        numbers = sum(torch.Size(shape).numel() for shape in parameter_shapes(build).values())
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise UserError(f"{what}: no machine has memory for such a network; take less") from error
    if numbers * BYTES > machine_memory():
        need, have = (f"{size / 1e9:,.0f} GB" for size in (numbers * BYTES, machine_memory()))
        raise UserError(f"{what}: a network of {numbers:,} numbers takes {need}, this machine has {have}; take less")
