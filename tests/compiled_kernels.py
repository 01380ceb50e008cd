"""Compile every GPU kernel ahead of time and check registers, spills and stores; test_gpu_backend.py runs this file."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from weit_rl.kernels import triton_constants as backend
from weit_rl.kernels.entry_groups import group_entries
from weit_rl.kernels.triton_kernels import scalers_kernel, sums_kernel, templates_kernel, weights_kernel
from weit_rl.kernels.triton_tables import plan_launches

REGISTERS = 128
LAYERS = 6
KINDS = ((torch.bfloat16, 64, "highest"), (torch.float32, 32, "highest"), (torch.float32, 32, "high"))
CASES = [(arch, *kind) for arch in (80, 90, 100) for kind in KINDS]
CASES.append((90, torch.float64, 32, "highest"))
NAMES = {torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.float64: "*fp64"}


def planned(dtype, rank):
    """Return the launch of a transformer of width 384 with six layers and tile 32."""
    shapes = ((3, 12, 12), (1, 12, 12), (1, 48, 12), (1, 12, 48))
    scalers = [
        torch.empty(split, rank, *grid, dtype=dtype, device="meta") for split, *grid in shapes for _ in range(LAYERS)
    ]
    templates = [torch.empty(rank, 32, 32, dtype=dtype, device="meta") for _ in shapes]
    (plan,) = plan_launches(
        group_entries(scalers, templates, [k // LAYERS for k in range(len(scalers))]), backend.TILES
    )
    return plan


def compiled(kernel, arguments, constants, arch):
    """Compile a kernel for aligned pointers and return its PTX."""
    options = {key: constants.pop(key) for key in ("num_warps", "num_stages") if key in constants}
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    signature = {name: arguments.get(name, "constexpr") for name in kernel.arg_names}
    attributes = {}
    for place, kind in enumerate(signature.values()):
        places = [(place, k) for k in range(len(kind))] if isinstance(kind, tuple) else [(place,)]
        attributes |= {key: [["tt.divisibility", 16]] for key in places if kind != "constexpr"}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options).asm["ptx"]


def registers_and_spills(ptx, arch):
    """Return the registers and spilled bytes that ptxas reports for a kernel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        name = f"sm_{arch}a" if arch >= 90 else f"sm_{arch}"
        words = [get_ptxas(arch).path, "-v", f"--gpu-name={name}", str(path), "-o", str(path.with_suffix(".cubin"))]
        report = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    return int(re.search(r"Used (\d+) registers", report)[1]), int(re.search(r"(\d+) bytes spill stores", report)[1])


def kernels(dtype, rank):
    """Yield each kernel with its arguments, its compile-time constants, and whether its stores must be vectors."""
    pointer, sums = NAMES[dtype], "*fp64" if dtype == torch.float64 else "*fp32"
    plan = planned(dtype, rank)
    entries, roles = (pointer,) * len(plan.entries), (pointer,) * len(plan.roles)
    blocks, number = (backend.WEIGHTS, backend.SCALERS, backend.TEMPLATES), {"ROLES": len(plan.roles)}
    ahead, own, shared = ({**backend.kernel_constants(plan, dtype, table), **number} for table in blocks)
    arguments = {"table": "*i64", "scalers": entries, "templates": roles, "weights": entries}
    yield weights_kernel, arguments, {**ahead, "SPLITS": 2}, True
    yield scalers_kernel, {"table": "*i64", "grads": entries, "templates": roles, "into": entries}, own, False
    tables = {"table": "*i64", "shares": "*i64"}
    yield templates_kernel, {**tables, "grads": entries, "scalers": entries, "parts": sums}, shared, True
    yield sums_kernel, {"parts": sums, "bounds": "*i64", "into": roles}, backend.sum_constants(plan), False


if __name__ == "__main__":
    for arch, dtype, rank, precision in CASES:
        torch.set_float32_matmul_precision(precision)
        for kernel, arguments, constants, in_a_row in kernels(dtype, rank):
            ptx = compiled(kernel, arguments, dict(constants), arch)
            registers, spills = registers_and_spills(ptx, arch)
            stores = set(re.findall(r"st\.global[.\w:]*", ptx))
            name = f"sm_{arch} {dtype} {precision} {kernel.__name__}"
            print(f"{name}: {registers} registers, {spills} bytes spilled, {stores}")
            assert registers <= REGISTERS and spills == 0
            assert not in_a_row or all(re.search(r"\.v[24]\.", store) for store in stores)
            sys.stdout.flush()
    print("compiled")
