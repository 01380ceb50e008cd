"""BoT, bidirectional knowledge transfer (arXiv 2603.07506): weights of another size by wavelets, without training.

The layers of a role are stacked to ``layers x out x in``. To shrink them, a 3-D discrete wavelet transform is applied
and the all-low band is kept. To grow them, the inverse transform is applied with detail bands of zero. An axis is
halved or doubled as often as necessary. The paper does not define sizes that are not a power of two away, nor how bands
are scaled. Our choices:

- An axis is halved while enough entries are left, or doubled until there are enough. Then evenly spaced entries are
  taken.
- An axis is a signal, and a matrix ``P`` maps it to its new size. The axis that a weight sums over is transformed by
  the transposed pseudo-inverse of ``P``. So where ``P`` averages, that axis is summed, and where ``P`` repeats, it is
  divided by the number of copies. Growing a width by a power of two keeps the function, and shrinking undoes it (with
  orthogonal wavelets).
- Along the axis of attention heads, whole heads are transformed, not channels. Depth is averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.core.plan import FIXED, HEADS, Slot
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource

GAINS = ("mean", "orthonormal")


def bot(
    source: TrainedSource | None, target: nn.Module, context: Context, wavelet: str = "haar", gain: str = "mean"
) -> Mapping[str, Tensor]:
    """Make a target of any size, without training.

    Args:
        source: the network that is transformed.
        target: a network of the same family.
        context: plan and ``head_dim`` of the run.
        wavelet: ``"haar"`` (default), or a discrete wavelet of PyWavelets by its name.
        gain: ``"mean"`` (default): a low band is an average, so channels keep their size. ``"orthonormal"``: a low band
            is ``sqrt(2)`` times the average, as in the transform itself; then norms, embeddings and attention logits
            shrink as a width grows.

    Returns:
        The state dict of the target.

    Raises:
        UserError: if the wavelet or the gain is unknown, or PyWavelets is not installed.
    """
    assert source is not None
    if gain not in GAINS:
        raise unknown_name_error("gain", gain, list(GAINS))
    level = haar if wavelet == "haar" else pywavelet(wavelet)
    old, new = context.plan.layout(source.net), context.plan.layout(target)
    change = partial(transform, level=level, gain=gain, head_dim=context.head_dim)
    weights = {key: change(x, old[key], new[key]) for key, x in stack_weights(source.net, context.plan).items()}
    return state_dict_of(target, weights, source.net, context.plan)


Level = Callable[[int, bool], Tensor]  # (n, grows) -> orthonormal matrix of one level, (n / 2, n) or (2 n, n)


def transform(x: Tensor, old: Slot, new: Slot, level: Level, gain: str, head_dim: int) -> Tensor:
    """Transform a stacked slot along depth and every named axis."""
    if new.stacked:
        x = along(x, 0, to_size(len(old.names), len(new.names), level, "mean"))
    for axis, name in enumerate(new.rule.axes):
        if name == FIXED or old.part[axis] == new.part[axis]:
            continue
        block = head_dim if name == HEADS else 1
        matrix = to_size(old.part[axis] // block, new.part[axis] // block, level, gain)
        if axis == new.rule.fan_in:
            matrix = torch.linalg.pinv(matrix).T
        x = along(x, 2 + axis, of_blocks(matrix, block))
    return x


def of_blocks(matrix: Tensor, block: int) -> Tensor:
    """Expand a matrix on entries to one on blocks of entries."""
    own = matrix.new_empty(matrix.shape).copy_(matrix)  # torch.kron fails for a single column with other strides
    return torch.kron(own, torch.eye(block, dtype=matrix.dtype))


def to_size(n: int, wanted: int, level: Level, gain: str) -> Tensor:
    """Return the matrix that maps a signal of ``n`` entries to one of ``wanted`` entries."""
    matrix = torch.eye(n, dtype=torch.float64)
    root = 2**0.5 if gain == "mean" else 1.0  # an orthonormal low band is sqrt(2) times the average
    while len(matrix) % 2 == 0 and len(matrix) // 2 >= wanted:
        matrix = level(len(matrix), False) / root @ matrix
    while len(matrix) < wanted:
        matrix = level(len(matrix), True) * root @ matrix
    middles = (torch.arange(wanted, dtype=torch.float64) + 0.5) * len(matrix) / wanted
    return matrix[middles.long()]


def along(x: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """Multiply ``x`` by a matrix along one of its axes."""
    return torch.tensordot(matrix.to(x), x, dims=([1], [dim])).movedim(0, dim)


def haar(n: int, grows: bool) -> Tensor:
    """Return one level of the Haar transform: add neighbours, or repeat entries, and divide by ``sqrt(2)``."""
    small = n if grows else n // 2
    pairs = torch.eye(small, dtype=torch.float64).repeat_interleave(2, 0) / 2**0.5
    return pairs if grows else pairs.T


def pywavelet(name: str) -> Level:
    """Return the levels of a wavelet of PyWavelets, from its transforms of unit signals; borders wrap around."""
    try:
        import pywt
    except ImportError as error:
        raise UserError(f"wavelet={name}: needs PyWavelets; pip install PyWavelets, or use haar") from error
    known = pywt.wavelist(kind="discrete")
    if name not in known:
        raise unknown_name_error("wavelet", name, known)

    def level(n: int, grows: bool) -> Tensor:
        unit: Any = torch.eye(n, dtype=torch.float64).numpy()
        wrap = {"wavelet": name, "mode": "periodization", "axis": 0}
        return torch.as_tensor(pywt.idwt(unit, None, **wrap) if grows else pywt.dwt(unit, **wrap)[0])

    return level


INITIALIZERS.add("bot", Initializer(bot, train_lr=1e-3))
