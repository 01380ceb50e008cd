"""The maps of LiGO: linear maps from the weights of a network to those of a wider and deeper one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weit_rl.common.seeds import seeded_generator
from weit_rl.core.parameter_map import Parameters
from weit_rl.core.plan import Plan, Slot
from weit_rl.core.resize import draw_shares
from weit_rl.core.shared_axes import Axis, axes_of
from weit_rl.core.stacked_weights import stack_weights

NOISE = 0.01  # standard deviation on the depth mix, where the copied block has weight 1


class Growth(nn.Module):
    """Trainable maps along every axis and over depth; calling them returns the target's weights.

    A grown axis keeps its old entries and adds combinations of them, ``M = [I; C]``. All tensors with entries along the
    axis go through ``M``: outputs, biases, norms, embeddings. A weight that sums over the axis goes through ``R M D``.
    R holds fixed positive shares r, and D divides entry i by ``sum_j r_j M_ji^2``. For C = 0 that changes nothing.
    Where new entries copy old ones, the copies of an entry get shares that sum to 1. Without D, a doubled axis would
    double every sum over it. Without unequal shares, copies would stay equal in training. At the start new entries copy
    the old ones in turn, so the function is kept at integer ratios.

    Args:
        source: a plain network with its weights.
        target: a plain network, nowhere narrower or shallower.
        plan: the plan of both.
        seed: of the shares and the noise of the depth mix.

    Attributes:
        new: the target's layout.
        combinations: C of every axis that grows, by its key, ``(layers, parts, new - old, old)``.
        mixes: the depth mix of every slot, ``(split, new depth, old depth)``.
    """

    def __init__(self, source: nn.Module, target: nn.Module, plan: Plan, seed: int = 0):
        super().__init__()
        old, self.new = plan.layout(source), plan.layout(target)
        self.trained, self._axes = stack_weights(source, plan), axes_of(self.new)
        like, generator = next(iter(self.trained.values())), seeded_generator("ligo", seed)
        combinations, mixes = {}, {}
        self._shares: dict[str, Tensor] = {}  # fixed and drawn from the seed, so not in the state dict
        for key, slot in self.new.items():
            if slot.stacked:
                mixes[key] = _stacking(len(old[key].names), slot, generator).to(like)
            for index, axis in enumerate(self._axes[key]):
                before = old[key].part[index]
                if axis is not None and axis.length > before:
                    combinations[axis.key] = _copies(before, axis).to(like)
                    if index == slot.rule.fan_in:
                        self._shares[key] = draw_shares(before, axis.length, 1, generator).to(like)
        self.combinations, self.mixes = Parameters(combinations), Parameters(mixes)

    def forward(self) -> dict[str, Tensor]:
        """Compute the target's weights by slot, stacked ``(layers, split, *part)``."""
        return {key: self._grow(key, slot) for key, slot in self.new.items()}

    def _grow(self, key: str, slot: Slot) -> Tensor:
        x = self.trained[key]
        if slot.stacked:
            x = torch.einsum("sij,js...->is...", self.mixes[key], x)
        for index, axis in enumerate(self._axes[key]):
            if axis is not None and axis.key in self.combinations:
                parts = slot.rule.split if index == 0 else 1
                own = self.combinations[axis.key][:, -parts:]  # a single part: the last, which other weights read
                x = _widen(x, own, index + 2, self._shares[key] if index == slot.rule.fan_in else None)
        return x


def _widen(x: Tensor, combinations: Tensor, dim: int, weights: Tensor | None = None) -> Tensor:
    """Return ``M x`` along ``dim``, or ``R M D x`` with the shares of an axis that is summed over."""
    x = x.movedim(dim, 2)
    flat = x.flatten(3) if x.ndim > 3 else x.unsqueeze(3)  # (layers, split, old, the rest)
    if weights is not None:
        kept, added = weights.split([x.shape[2], combinations.shape[2]])
        flat = flat / (kept + added @ combinations**2).unsqueeze(-1)
    flat = torch.cat([flat, combinations @ flat], dim=2)
    if weights is not None:
        flat = flat * weights.unsqueeze(-1)
    return flat.reshape(*x.shape[:2], -1, *x.shape[3:]).movedim(2, dim)


def _copies(old: int, axis: Axis) -> Tensor:
    """Make C so that new entries copy the old ones in turn; whole heads are copied, since they divide both lengths."""
    copies = torch.eye(old)[torch.arange(old, axis.length) % old]
    return copies.repeat(axis.layers, axis.parts, 1, 1)


def _stacking(old: int, slot: Slot, generator: torch.Generator) -> Tensor:
    """Make the depth mix: block l copies block l mod ``old``, with noise if the target is deeper. Rows sum to 1."""
    new = len(slot.names)
    start = torch.eye(old)[torch.arange(new) % old].repeat(slot.rule.split, 1, 1)
    if new == old:
        return start
    noise = NOISE * torch.randn(start.shape, generator=generator)
    return start + noise - noise.mean(-1, keepdim=True)
