"""The maps of LiGO: from the weights of a network to those of a wider and deeper one, linear in the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weit_rl.common.seeds import seeded
from weit_rl.core.parameter_map import Parameters
from weit_rl.core.plan import Plan, Slot
from weit_rl.core.resize import shares
from weit_rl.core.stacked_weights import weights_of
from weit_rl.initializers._shared.axes import Axis, axes_of

NOISE = 0.01  # on the depth mix: small beside the 1 of the copied block


class Growth(nn.Module):
    """Maps along every axis and over depth; called, it gives the target's weights, differentiable in the maps alone.

    A grown axis keeps its old entries and adds combinations of them, ``M = [I; C]``. Whatever has entries along the
    axis goes through ``M``: outputs, biases, norms, embeddings. What sums over it goes through ``R M D`` instead, where
    R holds fixed positive shares r and D divides entry i by ``sum_j r_j M_ji^2``: no change for C = 0, and where every
    new entry copies an old one the copies of an entry get shares that sum to 1. Without D a doubled axis would double
    every sum over it; without unequal shares copies would stay equal in training. So the start, copies in turn, keeps
    the function at integer ratios.

    Args:
        source: a plain network with its weights.
        target: a plain network, nowhere narrower or shallower.
        plan: of both.
        seed: draws the shares and the noise of the depth mix.

    Attributes:
        new: the target's layout.
        combinations: by axis, C: ``(layers, parts, new - old, old)``; an axis that does not grow has none.
        mixes: by slot, the depth mix ``(split, new depth, old depth)``.
    """

    def __init__(self, source: nn.Module, target: nn.Module, plan: Plan, seed: int = 0):
        super().__init__()
        old, self.new = plan.layout(source), plan.layout(target)
        self.trained, self._axes = weights_of(source, plan), axes_of(self.new)
        like, generator = next(iter(self.trained.values())), seeded("ligo", seed)
        combinations, mixes = {}, {}
        self._shares: dict[str, Tensor] = {}  # fixed and drawn from the seed, so not in the state
        for key, slot in self.new.items():
            if slot.stacked:
                mixes[key] = _stacking(len(old[key].names), slot, generator).to(like)
            for index, axis in enumerate(self._axes[key]):
                before = old[key].part[index]
                if axis is not None and axis.length > before:
                    combinations[axis.key] = _copies(before, axis).to(like)
                    if index == slot.rule.fan_in:
                        self._shares[key] = shares(before, axis.length, 1, generator).to(like)
        self.combinations, self.mixes = Parameters(combinations), Parameters(mixes)

    def forward(self) -> dict[str, Tensor]:
        """Every slot's weights in the target, stacked ``(layers, split, *part)``."""
        return {key: self._grow(key, slot) for key, slot in self.new.items()}

    def _grow(self, key: str, slot: Slot) -> Tensor:
        x = self.trained[key]
        if slot.stacked:
            x = torch.einsum("sij,js...->is...", self.mixes[key], x)
        for index, axis in enumerate(self._axes[key]):
            if axis is not None and axis.key in self.combinations:
                parts = slot.rule.split if index == 0 else 1
                own = self.combinations[axis.key][:, -parts:]  # one part: the last, which the axis carries on
                x = _widen(x, own, index + 2, self._shares[key] if index == slot.rule.fan_in else None)
        return x


def _widen(x: Tensor, combinations: Tensor, dim: int, weights: Tensor | None = None) -> Tensor:
    """``M x`` along ``dim``, or ``R M D x`` with the shares of an axis that is summed over."""
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
    """New entries copy the old ones in turn; whole heads are copied, since heads divide both lengths."""
    copies = torch.eye(old)[torch.arange(old, axis.length) % old]
    return copies.repeat(axis.layers, axis.parts, 1, 1)


def _stacking(old: int, slot: Slot, generator: torch.Generator) -> Tensor:
    """Block l is block l mod ``old``; with a little of the others if it is deeper. Rows sum to 1."""
    new = len(slot.names)
    start = torch.eye(old)[torch.arange(new) % old].repeat(slot.rule.split, 1, 1)
    if new == old:
        return start
    noise = NOISE * torch.randn(start.shape, generator=generator)
    return start + noise - noise.mean(-1, keepdim=True)
