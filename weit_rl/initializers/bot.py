"""BoT, bidirectional knowledge transfer (arXiv 2603.07506): weights of another size by wavelets, without training.

The layers of a role are stacked to ``layers x out x in``. Shrinking is a 3-D discrete wavelet transform of which the
all-low band is kept, growing the inverse transform with detail bands of zero. An axis halves or doubles as often as it
must. The paper leaves open how sizes are met that are no power of two away, and how bands are scaled. Ours:

- An axis is halved while that leaves enough, or doubled until it is enough; then evenly spaced entries are taken.
- An axis is a signal, and ``P`` takes it to its new size. A weight's other side, the axis it sums over, is transformed
  by the transposed pseudo-inverse of ``P``, so that ``P``'s signals meet the weights they met before: where ``P``
  averages, that axis sums; where ``P`` repeats, it is divided by the number of copies. So growing a width by a power
  of two keeps the function, and shrinking undoes it (with orthogonal wavelets).
- Attention heads stay whole: along their axis it is heads that are transformed, not channels. Depth is averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown
from weit_rl.core.plan import FIXED, HEADS, Slot
from weit_rl.core.stacked_weights import state_of, weights_of
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, Source

GAINS = ("mean", "orthonormal")


def bot(
    source: Source | None, target: nn.Module, context: Context, wavelet: str = "haar", gain: str = "mean"
) -> Mapping[str, Tensor]:
    """A target of any size; no steps.

    Args:
        source: what is transformed.
        target: of the same family.
        context: its ``head_dim`` tells the heads.
        wavelet: ``"haar"`` (default), or any discrete wavelet of PyWavelets by its name.
        gain: ``"mean"`` (default): a low band is an average, so channels keep their size. ``"orthonormal"``: it is
            the transform's own, ``sqrt(2)`` more; norms and embeddings shrink as a width grows, and so do the logits
            of attention.

    Raises:
        UserError: if the wavelet or the gain is unknown, or PyWavelets is not installed.
    """
    assert source is not None
    if gain not in GAINS:
        raise unknown("gain", gain, list(GAINS))
    level = haar if wavelet == "haar" else pywavelet(wavelet)
    old, new = context.plan.layout(source.net), context.plan.layout(target)
    change = partial(transform, level=level, gain=gain, head_dim=context.head_dim)
    weights = {key: change(x, old[key], new[key]) for key, x in weights_of(source.net, context.plan).items()}
    return state_of(target, weights, source.net, context.plan)


Level = Callable[[int, bool], Tensor]  # (n, whether it grows) -> one level's orthonormal (n / 2, n) or (2 n, n)


def transform(x: Tensor, old: Slot, new: Slot, level: Level, gain: str, head_dim: int) -> Tensor:
    """A stacked slot, transformed along depth and every axis that has a name."""
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
    """The matrix that does to blocks of so many entries what another does to entries."""
    own = matrix.new_empty(matrix.shape).copy_(matrix)  # torch.kron takes a column with other strides for damaged
    return torch.kron(own, torch.eye(block, dtype=matrix.dtype))


def to_size(n: int, wanted: int, level: Level, gain: str) -> Tensor:
    """The matrix that takes a signal of ``n`` entries to one of ``wanted``."""
    matrix = torch.eye(n, dtype=torch.float64)
    root = 2**0.5 if gain == "mean" else 1.0  # an orthonormal low band is sqrt(2) times the average
    while len(matrix) % 2 == 0 and len(matrix) // 2 >= wanted:
        matrix = level(len(matrix), False) / root @ matrix
    while len(matrix) < wanted:
        matrix = level(len(matrix), True) * root @ matrix
    middles = (torch.arange(wanted, dtype=torch.float64) + 0.5) * len(matrix) / wanted
    return matrix[middles.long()]


def along(x: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """``matrix`` times ``x`` along one of its axes."""
    return torch.tensordot(matrix.to(x), x, dims=([1], [dim])).movedim(0, dim)


def haar(n: int, grows: bool) -> Tensor:
    """One level of the Haar transform: neighbours are added, or an entry is repeated, over ``sqrt(2)``."""
    small = n if grows else n // 2
    pairs = torch.eye(small, dtype=torch.float64).repeat_interleave(2, 0) / 2**0.5
    return pairs if grows else pairs.T


def pywavelet(name: str) -> Level:
    """A level of a wavelet of PyWavelets, read off what it does to unit signals; borders wrap around."""
    try:
        import pywt
    except ImportError as error:
        raise UserError(f"wavelet={name}: needs PyWavelets; pip install PyWavelets, or use haar") from error
    known = pywt.wavelist(kind="discrete")
    if name not in known:
        raise unknown("wavelet", name, known)

    def level(n: int, grows: bool) -> Tensor:
        unit: Any = torch.eye(n, dtype=torch.float64).numpy()
        wrap = {"wavelet": name, "mode": "periodization", "axis": 0}
        return torch.as_tensor(pywt.idwt(unit, None, **wrap) if grows else pywt.dwt(unit, **wrap)[0])

    return level


INITIALIZERS.add("bot", Initializer(bot, train_lr=1e-3))
