"""Compile-time constants of the Triton kernels: block sizes, data types and precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from weit_rl.kernels.triton_kernels import weights_kernel
from weit_rl.kernels.triton_tables import Launch

TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32, torch.float64: tl.float64}
INTERPRETED = not isinstance(weights_kernel, triton.runtime.JITFunction)


class Blocks(NamedTuple):
    """Block sizes of a program: templates, numbers of a tile, warps. They use at most 128 registers and spill none."""

    templates: int
    size: int
    warps: int = 4


# Block sizes by the bytes of a product's operands: the fastest of those measured on an H100.
WEIGHTS = {2: Blocks(64, 64), 4: Blocks(32, 64, 8), 8: Blocks(16, 64)}
SCALERS = {2: Blocks(64, 128), 4: Blocks(32, 64), 8: Blocks(16, 64)}
TEMPLATES = {2: Blocks(64, 128), 4: Blocks(32, 128, 8), 8: Blocks(16, 64)}
TILES = 32  # tiles of a program, for all kernels
SUM_BLOCKS = {"BLOCK_S": 32, "BLOCK_X": 64, "num_warps": 4}


def kernel_constants(launch: Launch, dtype: torch.dtype, blocks: Mapping[int, Blocks]) -> dict[str, Any]:
    """Return the compile-time constants of a kernel.

    Products of 16-bit weights take 16-bit operands, as tensor cores need, and wider sums. Products of float32 weights
    are as precise as PyTorch's own. Triton's interpreter cannot multiply bfloat16, so it gets the wider operands.
    """
    narrow = dtype.itemsize == 2 and launch.like.sums == torch.float32 and not INTERPRETED
    operand = dtype if narrow else launch.like.sums
    templates, size, warps = blocks[operand.itemsize]
    return {
        "N": launch.like.n,
        "SIZE": launch.form.size,
        "WIDTH": launch.form.width,
        "ENTRIES": len(launch.entries),
        "BLOCK_M": TILES,
        "BLOCK_N": min(templates, max(16, triton.next_power_of_2(launch.like.n))),
        "BLOCK_X": min(size, max(16, triton.next_power_of_2(launch.form.size))),
        "OPERAND": TYPES[operand],
        "PRECISION": "tf32" if _rounds_products() else "ieee",
        "SUM": TYPES[launch.like.sums],
        "num_warps": warps,
        "num_stages": 3,
    }


def sum_constants(launch: Launch) -> dict[str, Any]:
    """Return the compile-time constants of ``sums_kernel``."""
    numbers = {"LENGTH": launch.like.n * launch.form.size, "ROLES": len(launch.roles)}
    return {**numbers, "SUM": TYPES[launch.like.sums], **SUM_BLOCKS}


def _rounds_products() -> bool:
    """Return True if PyTorch may round float32 products to TF32.

    The older setting ``allow_tf32`` raises an error once the newer one was used, so the newer one is read first.
    """
    products = torch.backends.cuda.matmul
    if hasattr(products, "fp32_precision"):
        return bool(products.fp32_precision == "tf32")
    return bool(products.allow_tf32)
