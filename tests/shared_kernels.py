"""Share cases of the composition operator, their weights and gradients by definition, and how they are compared."""

import random

import torch

from weit_rl.kernels.operator import compose

FORMS = {  # grid, tile: one to four axes
    "vector": ((3,), (4,)),
    "linear": ((2, 3), (4, 2)),
    "single row": ((1, 4), (3, 3)),
    "whole weight": ((1, 1), (3, 5)),
    "rows of templates": ((4, 1), (1, 6)),
    "numbers": ((2, 3), (1, 1)),
    "1-D convolution": ((2, 3, 1), (3, 2, 5)),
    "dense convolution": ((2, 3, 1, 1), (4, 2, 3, 3)),
    "depthwise convolution": ((4, 1, 1, 1), (2, 1, 3, 3)),
    "no matrix of tiles": ((2, 3, 2), (4, 2, 3)),
}
BATCHES, ROLES = (1, 3, 1, 2), [0, 1, 0, 0]  # fused parts or layers of an entry; entries 0, 2, 3 share templates
TOLERANCE = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-10},
    torch.float32: {"rtol": 1e-4, "atol": 1e-4},
    torch.bfloat16: {"rtol": 2e-2, "atol": 2e-2},
    torch.float16: {"rtol": 4e-3, "atol": 4e-3},
}
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
    """Draw a random case in float64: dtypes, rank, grid and tile."""
    rng = random.Random(seed)
    axes = rng.choice((1, 2, 2, 4))
    ends = (1,) * (axes - 2), tuple(rng.choice((1, 3)) for _ in range(axes - 2))
    grid, tile = (
        (*(rng.randint(1, high) for _ in range(min(axes, 2))), *end) for high, end in zip((5, 9), ends, strict=True)
    )
    return torch.float64, None, rng.randint(1, 20), grid, tile


DRAWN = [drawn(seed) for seed in range(4)]


def factors(grid, tile, rank=3, dtype=torch.float64, batches=BATCHES, seed=0):
    """Return scalers of all entries and templates of two roles, with values that every dtype represents exactly."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        values = torch.randint(-8, 9, shape, generator=generator).double() / 8
        return values.to(dtype).requires_grad_()

    return [draw(batch, rank, *grid) for batch in batches], [draw(rank, *tile) for _ in range(2)]


def by_kron(scalers, templates, roles=ROLES):
    """Compose weights by definition, in float64; autograd gives their gradients."""
    return [
        torch.cat([sum(torch.kron(a, b) for a, b in zip(one, templates[role].double(), strict=True)) for one in s])
        for s, role in zip((s.double() for s in scalers), roles, strict=True)
    ]


def expected(scalers, templates, roles=ROLES, seed=1):
    """Return weights, an upstream gradient and the gradients of all factors, in float64."""
    weights, generator = by_kron(scalers, templates, roles), torch.Generator().manual_seed(seed)
    upstream = [torch.randint(-4, 5, w.shape, generator=generator).double() / 4 for w in weights]
    return weights, upstream, torch.autograd.grad(weights, [*scalers, *templates], upstream)


def assert_alike(made, wanted, dtype):
    for ours, theirs in zip(made, wanted, strict=True):
        assert ours.shape == theirs.shape and ours.is_contiguous()
        scale = float(theirs.detach().abs().max()) + 1e-12
        torch.testing.assert_close(ours.double() / scale, theirs.double() / scale, **TOLERANCE[dtype])


def call(scalers, templates):
    """Return the operator as a function of tensors, and its arguments."""
    number = len(scalers)
    return lambda *x: tuple(compose(x[:number], x[number:], ROLES[:number])), (*scalers, *templates)
