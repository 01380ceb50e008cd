"""Compare every GPU kernel with torch.kron in float64; test_gpu_backend.py runs this file with TRITON_INTERPRET=1."""

import torch
from shared_kernels import DRAWN, FIXED, ROLES, assert_alike, expected, factors

from weit_rl.kernels import triton, triton_constants, triton_tables

torch.set_num_threads(1)


def check(dtype, asked, rank, grid, tile, seed=0):
    scalers, templates = factors(grid, tile, rank, dtype, seed=seed)
    weights, upstream, grads = expected(scalers, templates)
    with torch.no_grad():
        made = triton.compose_triton(scalers, templates, ROLES, asked)
        upstream = [g.to(w.dtype) for g, w in zip(upstream, made, strict=True)]
        ours = triton.gradients_triton(upstream, scalers, templates, ROLES, True, True)
    assert all(w.dtype == (asked or dtype) for w in made) and all(g.dtype == dtype for g in ours)
    assert_alike(made, weights, asked or dtype)
    assert_alike(ours, grads, asked or dtype)


if __name__ == "__main__":
    assert triton_constants.INTERPRETED
    for case in FIXED:
        check(*case)
    for seed, case in enumerate(DRAWN):
        check(*case, seed=seed)
    triton_tables.ENTRIES = 2  # more entries than a launch takes
    check(torch.float64, None, 3, (2, 2), (4, 3))
    print("alike")
