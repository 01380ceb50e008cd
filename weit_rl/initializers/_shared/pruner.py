"""What structured pruning trains: a network's weights, the scores of its masks, and the multipliers of its shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.seeds import seeded
from weit_rl.core.network_from_bank import start_loss
from weit_rl.core.parameter_map import Parameters
from weit_rl.core.plan import Plan
from weit_rl.core.stacked_weights import weights_of
from weit_rl.initializers._shared import hard_concrete
from weit_rl.initializers._shared.domains import domain_weights
from weit_rl.initializers._shared.masked_network import MaskedNetwork, slices
from weit_rl.initializers._shared.prunable_units import kinds_of

RAMP = 0.2  # of the steps, over which the sparsity asked for rises from 0 to the target's
LIMIT = 6.0  # how far from 0 scores may go
SECOND = 100.0  # where the squares' multipliers begin
DOMAINS_EVERY = 10  # steps between two changes of the domains' weights


class Pruner(nn.Module):
    """A network on its way to the shape of a smaller one.

    The penalty is in units of the source's own loss, so that its rates mean the same on every task.

    Args:
        source: a plain network with its weights.
        target: a plain network, nowhere wider or deeper.
        plan: of both.
        head_dim: channels of a head.
        domains: ``loss(net, step)`` of each domain, one or more.
        seed: draws the masks.

    Attributes:
        weights: by slot, the source's.
        scores: by the name of a mask, ``(layers, units)``.
        first: by the name of a mask, the multipliers of ``sparsity - target``, one for each layer.
        second: those of its square.
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
        self.weights = Parameters({key: weight.clone() for key, weight in weights_of(source, plan).items()})
        self.kinds = dict(kinds_of(self._network, self.weights, self._target, head_dim))
        self.scores = Parameters({key: kind.scores for key, kind in self.kinds.items()})
        self.first = Parameters({key: torch.zeros_like(scores[:, 0]) for key, scores in self.scores.items()})
        self.second = Parameters({key: torch.full_like(scores[:, 0], SECOND) for key, scores in self.scores.items()})
        self._domains = domains
        self._references = torch.tensor([start_loss(source, domain) for domain in domains])
        self.register_buffer("proportions", torch.full((len(domains),), 1 / len(domains)))

    def loss(self, step: int, steps: int) -> Tensor:
        """The task's loss under drawn masks, plus the penalty on the shape."""
        with torch.no_grad():
            for scores in self.scores.values():
                scores.clamp_(-LIMIT, LIMIT)  # further out neither gradients nor draws would bring them back
        generator = seeded(f"masks of step {step}", self._seed)
        masks = {key: hard_concrete.sample(scores, generator) for key, scores in self.scores.items()}
        losses = torch.stack([domain(self.run(masks), step) for domain in self._domains])
        task = (losses * self.proportions.to(losses)).sum()
        if (step + 1) % DOMAINS_EVERY == 0:
            self.proportions = domain_weights(self.proportions, losses.detach().cpu(), self._references)
        return task + self._references.mean().item() * self.penalty(min(1.0, step / (RAMP * steps)))

    def run(self, masks: Mapping[str, Tensor]) -> Any:
        """A callable: the network under these masks, one for each unit."""
        return self._network.run(self.weights, self._entries(masks))

    def sparsity(self) -> dict[str, Tensor]:
        """The expected share of units that are masked, for each kind and layer."""
        return {key: 1 - hard_concrete.kept(scores).mean(-1) for key, scores in self.scores.items()}

    def penalty(self, ramp: float) -> Tensor:
        """The Lagrangian of all kinds, with ``ramp`` of the target's sparsity asked for."""
        total = torch.zeros(())
        for key, sparsity in self.sparsity().items():
            gap = sparsity - ramp * (1 - self.kinds[key].count / self.scores[key].shape[1])
            total = total.to(gap) + (self.first[key] * gap + self.second[key] * gap**2).sum()
        return total

    @torch.no_grad()
    def sliced(self, fold: bool) -> dict[str, Tensor]:
        """The target's stacked weights: the units of the highest scores.

        Args:
            fold: whether the masks of what stays, where they are not 1, go into the weights: right after training
                with them, not before. (Those of blocks cannot.)
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
