"""Run by test_kernels.py with TRITON_INTERPRET=1: every GPU kernel against torch.kron in float64."""

import random

import torch
from test_kernels import ROLES, assert_alike, expected, factors

from weit_rl.kernels import launch, tables

torch.set_num_threads(1)
FIXED = [  # dtype of factors and of weights, templates, grid, tile
    (torch.float64, None, 3, (2, 3), (4, 2)),
    (torch.float64, None, 17, (2, 3, 1, 1), (4, 2, 3, 3)),
    (torch.float64, None, 1, (4, 1, 1, 1), (2, 1, 3, 3)),
    (torch.float64, None, 70, (3, 5), (8, 16)),
    (torch.float64, None, 2, (2, 3, 2), (4, 2, 3)),  # by the reference
    (torch.float32, None, 5, (3,), (4,)),
    (torch.bfloat16, None, 4, (3, 2), (8, 8)),
    (torch.float16, None, 4, (2, 2), (16, 16)),
    (torch.float32, torch.bfloat16, 4, (3, 2), (8, 8)),
]


def drawn(seed):
    """Random shapes of float64."""
    rng = random.Random(seed)
    axes = rng.choice((1, 2, 2, 4))
    ends = (1,) * (axes - 2), tuple(rng.choice((1, 3)) for _ in range(axes - 2))
    grid, tile = (
        (*(rng.randint(1, high) for _ in range(min(axes, 2))), *end) for high, end in zip((5, 9), ends, strict=True)
    )
    return torch.float64, None, rng.randint(1, 20), grid, tile


def check(dtype, asked, rank, grid, tile, seed=0):
    scalers, templates = factors(grid, tile, rank, dtype, seed=seed)
    weights, upstream, grads = expected(scalers, templates)
    with torch.no_grad():
        made = launch.compose(scalers, templates, ROLES, asked)
        upstream = [g.to(w.dtype) for g, w in zip(upstream, made, strict=True)]
        ours = launch.gradients(upstream, scalers, templates, ROLES, True, True)
    assert all(w.dtype == (asked or dtype) for w in made) and all(g.dtype == dtype for g in ours)
    assert_alike(made, weights, asked or dtype)
    assert_alike(ours, grads, asked or dtype)


if __name__ == "__main__":
    assert launch.INTERPRETED
    for case in FIXED:
        check(*case)
    for seed in range(4):
        check(*drawn(seed), seed=seed)
    tables.ENTRIES = 2  # more entries than a launch takes
    check(torch.float64, None, 3, (2, 2), (4, 3))
    print("alike")
