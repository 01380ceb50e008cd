"""An actor's linear layers, and the closed forms that make them wider or narrower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.agents.actor_widths import tile_edge
from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.fitting.least_squares import pivots, ridge
from weit_rl.initializers.svd_bank import factorise


class ActorLayers(nn.Module):
    """An actor's linear layers, shared with the agent: hidden ones in sequence, and the heads on the last.

    Args:
        hidden: the hidden layers.
        heads: layers on the last hidden one: the mean action, and the standard deviation if it depends on the state.
        activation: between layers.
        squash: whether the mean is squashed by tanh.
    """

    def __init__(self, hidden: Sequence[nn.Module], heads: Sequence[nn.Module], activation: nn.Module, squash: bool):
        super().__init__()
        self.hidden, self.heads = nn.ModuleList(hidden), nn.ModuleList(heads)
        self.activation, self.squash = activation, squash

    @classmethod
    def of(cls, agent: Any) -> ActorLayers:
        """Return the layers of an agent's actor; raise UserError if it is no plain MLP."""
        policy = agent.policy
        if hasattr(policy, "mlp_extractor"):
            parts, heads = [policy.mlp_extractor.policy_net], [policy.action_net]
        elif hasattr(policy, "actor"):
            parts, heads = [getattr(policy.actor, "latent_pi", policy.actor.mu)], [policy.actor.mu]
            heads += [policy.actor.log_std] if isinstance(getattr(policy.actor, "log_std", None), nn.Linear) else []
        else:
            raise UserError(f"{type(agent).__name__}: has no actor of its own, only agents with one can be resized")
        linear = [module for part in parts for module in part.modules() if isinstance(module, nn.Linear)]
        if not isinstance(heads[0], nn.Linear):  # TD3 has the head in one sequence with the hidden layers
            heads = [linear.pop()] if linear else heads
        if not linear or any(True for _ in policy.features_extractor_class(policy.observation_space).parameters()):
            raise UserError(
                f"{type(policy).__name__}: only actors that are an MLP of 1 hidden layer or more are resized; "
                "WeiTPolicy is made from its bank or checkpoint at another size="
            )
        return cls(linear, heads, policy.activation_fn(), bool(policy.squash_output))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of the heads, the mean first, squashed as in the agent."""
        for layer in self.hidden:
            x = self.activation(layer(x))
        mean, *others = (head(x) for head in self.heads)
        return [torch.tanh(mean) if self.squash else mean, *others]

    def plan(self, edges: Sequence[int]) -> Plan:
        """Return a plan that composes every hidden weight; axes are named by the layer whose channels lie along them.

        Args:
            edges: channels per tile of every hidden layer.
        """
        rules, before = [], FIXED
        for number, layer in enumerate(self.hidden):
            tile = (edges[number], edges[number - 1] if number else layer.in_features)
            name, axis = rf"hidden\.{number}", f"channels{number}"
            rules.append(Rule(rf"{name}\.weight", f"hidden{number}", tile, 1, (axis, before), 1))  # type: ignore[arg-type]
            rules.append(Rule(rf"{name}\.bias", "bias", None, 1, (axis,)))
            before = axis
        heads = Rule(r"heads\.\d+\.weight", "head", None, 1, (FIXED, before), 1)
        return Plan((*rules, heads, Rule(r"heads\.\d+\.bias", "head", None, 1, (FIXED,))))


def widen(teacher: ActorLayers, student: ActorLayers) -> None:
    """Resize the teacher's bank to the student, which then acts as the teacher does, if factors are whole numbers."""
    pairs = zip(teacher.hidden, student.hidden, strict=True)
    plan = teacher.plan([tile_edge(old.out_features, new.out_features) for old, new in pairs])  # type: ignore[arg-type]
    ranks = max(slot.shape[0] * slot.shape[1] for slot in plan.layout(teacher).values() if slot.rule.tile)
    bank: TemplateBank = factorise(teacher, plan, ranks)  # full rank, so that nothing is lost
    net = network_of_size(bank, teacher, student, plan).materialize()
    student.load_state_dict(net.state_dict())


@torch.no_grad()
def narrow(teacher: ActorLayers, student: ActorLayers, states: Tensor) -> None:
    """Fit the student in closed form: keep the most informative channels, then use ridge regression, layer by layer."""
    wide, slim = states, states
    for old, new in zip(teacher.hidden, student.hidden, strict=True):
        before = old(wide)
        wide = teacher.activation(before)
        seen = (wide - wide.mean(0)).double()
        kept = pivots(seen.T @ seen, 1, new.out_features)  # type: ignore[arg-type]
        _set(new, *ridge(slim, before[:, kept]))
        slim = student.activation(new(slim))
    for old, new in zip(teacher.heads, student.heads, strict=True):
        _set(new, *ridge(slim, old(wide)))


def _set(layer: Any, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
