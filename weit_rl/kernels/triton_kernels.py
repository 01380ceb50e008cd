"""Triton kernels for NVIDIA GPUs: weights, gradients of scalers, gradients of templates, and sums of partial gradients.

Each launch takes up to 64 entries whose templates have one shape. A row of a table tells each program its work; the
table depends on shapes alone. The addresses of the tensors are arguments of the launch. So a training step copies
nothing to the device and can be recorded as a CUDA graph.

Letters: ``m`` counts the tiles of an entry through all its weights, ``x`` the numbers of a tile, ``n`` the templates. A
program has blocks of ``BLOCK_M``, ``BLOCK_X`` and ``BLOCK_N`` of them. Addresses in weights are affine in ``m`` and
``x``, so that stores are whole vectors; a table of addresses would make them single numbers. Blocks of scalers have
``m`` last, so that the threads of a warp read and write neighbours.

Imported only if Triton is installed and a GPU composes weights.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Numbers in a row of the table: entry, role, first tile, last tile + 1, tiles of a weight, columns, and two zeros.
ROW = tl.constexpr(8)


@triton.jit
def _pick(pointers, index, FIRST: tl.constexpr, COUNT: tl.constexpr):
    """Return one of ``COUNT`` tensors of a launch by bisection; ``index`` is known only on the device."""
    HALF: tl.constexpr = COUNT // 2
    if COUNT == 1:
        chosen = pointers[FIRST]
    elif index < FIRST + HALF:
        chosen = _pick(pointers, index, FIRST, HALF)
    else:
        chosen = _pick(pointers, index, FIRST + HALF, COUNT - HALF)
    return chosen


@triton.jit
def _number(row, place: tl.constexpr):
    """Load one number of a table's row."""
    return tl.load(row + place).to(tl.int32)


@triton.jit
def _in_scalers(m, n, weight, N: tl.constexpr):
    """Return offsets into scalers ``(batch, N, tiles of a weight)``."""
    return (m // weight) * (weight * N) + m % weight + n * weight


@triton.jit
def _in_weights(m, x, columns, SIZE: tl.constexpr, WIDTH: tl.constexpr):
    """Return offsets into weights ``(rows, height, columns, width)``."""
    tile = (m // columns) * (columns * SIZE) + (m % columns) * WIDTH
    return tile + (x // WIDTH) * (columns * WIDTH) + x % WIDTH


@triton.jit
def weights_kernel(
    table,
    scalers,
    templates,
    weights,
    N: tl.constexpr,
    SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    ENTRIES: tl.constexpr,
    ROLES: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_X: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    SUM: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """Store ``weights[m, x] = sum_n scalers[n, m] * templates[n, x]``; ``SPLITS`` programs divide the x of each row."""
    blocks: tl.constexpr = tl.cdiv(tl.cdiv(SIZE, BLOCK_X), SPLITS)
    row = table + (tl.program_id(0) // SPLITS) * ROW
    entry, role, past = _number(row, 0), _number(row, 1), _number(row, 3)
    own, shared, out = (
        _pick(scalers, entry, 0, ENTRIES),
        _pick(templates, role, 0, ROLES),
        _pick(weights, entry, 0, ENTRIES),
    )
    weight, columns = _number(row, 4), _number(row, 5)
    m = _number(row, 2) + tl.arange(0, BLOCK_M)
    n = tl.arange(0, BLOCK_N)[:, None]
    # With N <= BLOCK_N the scalers are read once here; the compiler does not see that the loop would read the same.
    s = tl.load(own + _in_scalers(m[None, :], n, weight, N), mask=(m[None, :] < past) & (n < N), other=0.0)
    begin = tl.program_id(0) % SPLITS * blocks * BLOCK_X
    for block in range(blocks):
        x = (begin + block * BLOCK_X + tl.arange(0, BLOCK_X))[None, :]
        t = tl.load(shared + n * SIZE + x, mask=(n < N) & (x < SIZE), other=0.0)
        total = tl.dot(tl.trans(s.to(OPERAND)), t.to(OPERAND), input_precision=PRECISION, out_dtype=SUM)
        for first in range(BLOCK_N, N, BLOCK_N):
            k = first + n
            more = tl.load(own + _in_scalers(m[None, :], k, weight, N), mask=(m[None, :] < past) & (k < N), other=0.0)
            t = tl.load(shared + k * SIZE + x, mask=(k < N) & (x < SIZE), other=0.0)
            total = tl.dot(tl.trans(more.to(OPERAND)), t.to(OPERAND), total, input_precision=PRECISION, out_dtype=SUM)
        made = total.to(out.dtype.element_ty)
        tl.store(out + _in_weights(m[:, None], x, columns, SIZE, WIDTH), made, mask=(m[:, None] < past) & (x < SIZE))


@triton.jit
def scalers_kernel(
    table,
    grads,
    templates,
    into,
    N: tl.constexpr,
    SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    ENTRIES: tl.constexpr,
    ROLES: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_X: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    SUM: tl.constexpr,
):
    """Store ``into[n, m] = sum_x templates[n, x] * grads[m, x]``, one program per table row and block of n."""
    blocks: tl.constexpr = tl.cdiv(N, BLOCK_N)
    row = table + (tl.program_id(0) // blocks) * ROW
    entry, past, weight, columns = _number(row, 0), _number(row, 3), _number(row, 4), _number(row, 5)
    grad, out = _pick(grads, entry, 0, ENTRIES), _pick(into, entry, 0, ENTRIES)
    shared = _pick(templates, _number(row, 1), 0, ROLES)
    m = _number(row, 2) + tl.arange(0, BLOCK_M)
    n = (tl.program_id(0) % blocks * BLOCK_N + tl.arange(0, BLOCK_N))[:, None]
    total = tl.zeros((BLOCK_N, BLOCK_M), SUM)
    for first in range(0, SIZE, BLOCK_X):
        x = (first + tl.arange(0, BLOCK_X))[None, :]
        places = _in_weights(m[:, None], x, columns, SIZE, WIDTH)
        g = tl.load(grad + places, mask=(m[:, None] < past) & (x < SIZE), other=0.0)
        t = tl.load(shared + n * SIZE + x, mask=(n < N) & (x < SIZE), other=0.0)
        total = tl.dot(t.to(OPERAND), tl.trans(g.to(OPERAND)), total, input_precision=PRECISION, out_dtype=SUM)
    made = total.to(out.dtype.element_ty)
    tl.store(out + _in_scalers(m[None, :], n, weight, N), made, mask=(m[None, :] < past) & (n < N))


@triton.jit
def templates_kernel(
    table,
    shares,
    grads,
    scalers,
    parts,
    N: tl.constexpr,
    SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    ENTRIES: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_X: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    SUM: tl.constexpr,
):
    """Store ``parts[share, n, x] = sum_m scalers[n, m] * grads[m, x]`` over the table rows of each share.

    A row of this table has any number of tiles. ``sums_kernel`` adds up the shares of a role.
    """
    blocks: tl.constexpr = tl.cdiv(SIZE, BLOCK_X)
    share, block = tl.program_id(0) // (blocks * tl.cdiv(N, BLOCK_N)), tl.program_id(0) // blocks
    x = (tl.program_id(0) % blocks * BLOCK_X + tl.arange(0, BLOCK_X))[None, :]
    n = (block % tl.cdiv(N, BLOCK_N) * BLOCK_N + tl.arange(0, BLOCK_N))[:, None]
    total = tl.zeros((BLOCK_N, BLOCK_X), SUM)
    for number in range(_number(shares + 2 * share, 0), _number(shares + 2 * share, 1)):
        row = table + number * ROW
        entry, past, weight, columns = _number(row, 0), _number(row, 3), _number(row, 4), _number(row, 5)
        grad, own = _pick(grads, entry, 0, ENTRIES), _pick(scalers, entry, 0, ENTRIES)
        for first in range(_number(row, 2), past, BLOCK_M):
            m = first + tl.arange(0, BLOCK_M)
            places = _in_weights(m[:, None], x, columns, SIZE, WIDTH)
            g = tl.load(grad + places, mask=(m[:, None] < past) & (x < SIZE), other=0.0)
            s = tl.load(own + _in_scalers(m[None, :], n, weight, N), mask=(m[None, :] < past) & (n < N), other=0.0)
            total = tl.dot(s.to(OPERAND), g.to(OPERAND), total, input_precision=PRECISION, out_dtype=SUM)
    place = parts + share.to(tl.int64) * (N * SIZE) + n * SIZE + x
    tl.store(place, total, mask=(n < N) & (x < SIZE))


@triton.jit
def sums_kernel(
    parts,
    bounds,
    into,
    LENGTH: tl.constexpr,
    ROLES: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_X: tl.constexpr,
    SUM: tl.constexpr,
):
    """Store ``into[role, x] = sum_share parts[share, x]`` over the shares of a role, one program per block of x."""
    blocks: tl.constexpr = tl.cdiv(LENGTH, BLOCK_X)
    role = tl.program_id(0) // blocks
    x = (tl.program_id(0) % blocks * BLOCK_X + tl.arange(0, BLOCK_X))[None, :]
    past = _number(bounds + 2 * role, 1)
    total = tl.zeros((BLOCK_X,), SUM)
    for first in range(_number(bounds + 2 * role, 0), past, BLOCK_S):
        share = (first + tl.arange(0, BLOCK_S))[:, None]
        place = parts + share.to(tl.int64) * LENGTH + x
        total += tl.sum(tl.load(place, mask=(share < past) & (x < LENGTH), other=0.0), 0)
    out = _pick(into, role, 0, ROLES)
    tl.store(out + x, total[None, :].to(out.dtype.element_ty), mask=x < LENGTH)
