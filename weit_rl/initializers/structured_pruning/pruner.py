"""The module that structured pruning trains: weights, scores of masks, and multipliers of the shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.seeds import seeded_generator
from weit_rl.core.network_from_bank import start_loss
from weit_rl.core.parameter_map import Parameters
from weit_rl.core.plan import Plan
from weit_rl.core.stacked_weights import stack_weights
from weit_rl.initializers.structured_pruning import hard_concrete
from weit_rl.initializers.structured_pruning.domain_weights import domain_weights
from weit_rl.initializers.structured_pruning.masked_network import MaskedNetwork, slices
from weit_rl.initializers.structured_pruning.prunable_units import unit_kinds

RAMP = 0.2  # share of the steps over which the wanted sparsity rises from 0 to the target's
LIMIT = 6.0  # largest absolute score
SECOND = 100.0  # first value of the multipliers of the squares
DOMAINS_EVERY = 10  # steps between two updates of the domains' weights


class Pruner(nn.Module):
    """A network that is pruned to the shape of a smaller one.

    The penalty is in units of the source's loss, so that its rates suit every task.

    Args:
        source: a plain network with its weights.
        target: a plain network, nowhere wider or deeper.
        plan: the plan of both.
        head_dim: channels of an attention head.
        domains: ``loss(net, step)`` of each domain, one or more.
        seed: of the masks (default 0).

    Attributes:
        weights: the source's, by slot.
        scores: ``(layers, units)``, by the name of the mask.
        first: the multipliers of ``sparsity - target``, one per layer, by the name of the mask.
        second: the multipliers of its square, likewise.
    """

    proportions: Tensor

    def __init__(
        self,
        source: nn.Module,
        target: nn.Module,
        plan: Plan,
        head_dim: int,
        domains: Sequence[Callable[[Any, int], Tensor]],
        seed: int = 0,
    ):
        super().__init__()
        self._network, self._target, self._seed = MaskedNetwork(source, plan), plan.layout(target), seed
        self._network.net.train(target.training)
        self.weights = Parameters({key: weight.clone() for key, weight in stack_weights(source, plan).items()})
        self.kinds = dict(unit_kinds(self._network, self.weights, self._target, head_dim))
        self.scores = Parameters({key: kind.scores for key, kind in self.kinds.items()})
        self.first = Parameters({key: torch.zeros_like(scores[:, 0]) for key, scores in self.scores.items()})
        self.second = Parameters({key: torch.full_like(scores[:, 0], SECOND) for key, scores in self.scores.items()})
        self._domains = domains
        self._references = torch.tensor([start_loss(source, domain) for domain in domains])
        self.register_buffer("proportions", torch.full((len(domains),), 1 / len(domains)))

    def loss(self, step: int, steps: int) -> Tensor:
        """Compute the task's loss under drawn masks, plus the penalty on the shape."""
        with torch.no_grad():
            for scores in self.scores.values():
                scores.clamp_(-LIMIT, LIMIT)  # from further out neither gradients nor draws bring them back
        generator = seeded_generator(f"masks of step {step}", self._seed)
        masks = {key: hard_concrete.sample(scores, generator) for key, scores in self.scores.items()}
        losses = torch.stack([domain(self.run(masks), step) for domain in self._domains])
        task = (losses * self.proportions.to(losses)).sum()
        if (step + 1) % DOMAINS_EVERY == 0:
            self.proportions = domain_weights(self.proportions, losses.detach().cpu(), self._references)
        return task + self._references.mean().item() * self.penalty(min(1.0, step / (RAMP * steps)))

    def run(self, masks: Mapping[str, Tensor]) -> Any:
        """Return a callable that runs the network under these masks, one per unit."""
        return self._network.run(self.weights, self._entries(masks))

    def sparsity(self) -> dict[str, Tensor]:
        """Return the expected share of masked units, for each kind and layer."""
        return {key: 1 - hard_concrete.probability_kept(scores).mean(-1) for key, scores in self.scores.items()}

    def penalty(self, ramp: float) -> Tensor:
        """Compute the Lagrangian of all kinds; ``ramp`` is the share of the target's sparsity that is wanted now."""
        total = torch.zeros(())
        for key, sparsity in self.sparsity().items():
            gap = sparsity - ramp * (1 - self.kinds[key].count / self.scores[key].shape[1])
            total = total.to(gap) + (self.first[key] * gap + self.second[key] * gap**2).sum()
        return total

    @torch.no_grad()
    def sliced(self, fold: bool) -> dict[str, Tensor]:
        """Cut to the units of the highest scores; return the target's stacked weights.

        Args:
            fold: whether the masks of the units that stay are multiplied into the weights. That is right after
                training with masks, not before. Masks of blocks cannot be folded.
        """
        scores, top = dict(self.scores), {}
        for key, kind in self.kinds.items():
            best = scores[key].topk(kind.count, dim=1).indices.sort(dim=1).values
            entries = best.unsqueeze(-1) * kind.size + torch.arange(kind.size, device=best.device)
            top[key] = entries.flatten(1)
        masks = {key: hard_concrete.typical(s) for key, s in scores.items()} if fold else {}
        weights = self._network.masked(self.weights, self._entries(masks))
        return slices(weights, self._network.axes, self._target, top)

    def _entries(self, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: mask.repeat_interleave(self.kinds[key].size, dim=1) for key, mask in masks.items()}
