"""Agents that somebody has trained already, with an actor of another size.

The actor's weights become a bank in closed form (``init=svd_bank``); a wider actor is resized from its scalers and does
what the old one did, a narrower one is fitted layer by layer to what the old one computes, in closed form too. A short
stage then brings either nearer to the old actor's actions.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weit_rl.agents.actor_widths import tile_edge, widths_times
from weit_rl.agents.carried_training import carry_training
from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.fitting.least_squares import pivots, ridge
from weit_rl.initializers.svd_bank import bank_from
from weit_rl.training.loop import Recipe, fit

BATCH, NOT_COPIED = 256, ("self", "policy", "env", "policy_kwargs", "_init_setup_model", "device")


def resized(
    agent: Any, factor: float, observations: np.ndarray, steps: int = 300, lr: float = 1e-3, seed: int = 0
) -> Any:
    """The agent with an actor of another width; critics, hyperparameters and environment stay as they are.

    It goes on where the old one is, with ``learn(..., reset_num_timesteps=False)``: at its step count and place in
    the schedules, with its replay buffer, which both share, and the moments of the critics' optimizers.

    Args:
        agent: of PPO, A2C, SAC, TQC, TD3 or DDPG with ``"MlpPolicy"``, with an environment set.
        factor: width of every hidden layer of the actor, times the old one's.
        observations: ``(n, obs)`` as the agent sees them, some thousands, from its own episodes.
        steps: gradient steps that bring the new actor nearer to the old one's actions; 0 for none.
        lr: their peak learning rate.
        seed: of everything that is drawn.

    Returns:
        A new agent of the same class, which can go on learning.

    Raises:
        UserError: for another kind of policy, one with ``use_sde``, an agent without environment, observations of
            another size, or a factor that makes no whole number of channels.
    """
    teacher = Layers.of(agent)
    _check(agent, observations)
    wanted = widths_times([layer.out_features for layer in teacher.hidden], factor)  # type: ignore[misc]
    new = like(agent, wanted)
    student, states = Layers.of(new), torch.as_tensor(observations, dtype=torch.float32, device=agent.device)
    if factor < 1:
        narrow(teacher, student, states)
    else:
        widen(teacher, student)
    fit(student, lambda step: imitation(teacher, student, states, seed * 1_000_003 + step), Recipe(steps, lr))
    if hasattr(new, "actor_target"):
        new.actor_target.load_state_dict(new.actor.state_dict())
    carry_training(agent, new)
    return new


class Layers(nn.Module):
    """An actor's linear layers, shared with the agent: hidden ones in a row, and the heads on the last.

    Args:
        hidden: the hidden layers.
        heads: what reads the last of them: the mean action, and the spread where it depends on the state.
        activation: between layers.
        squash: whether the mean is squashed by tanh.
    """

    def __init__(self, hidden: Sequence[nn.Module], heads: Sequence[nn.Module], activation: nn.Module, squash: bool):
        super().__init__()
        self.hidden, self.heads = nn.ModuleList(hidden), nn.ModuleList(heads)
        self.activation, self.squash = activation, squash

    @classmethod
    def of(cls, agent: Any) -> Layers:
        """Those of an agent's actor; UserError if it is no plain MLP."""
        policy = agent.policy
        if hasattr(policy, "mlp_extractor"):
            parts, heads = [policy.mlp_extractor.policy_net], [policy.action_net]
        elif hasattr(policy, "actor"):
            parts, heads = [getattr(policy.actor, "latent_pi", policy.actor.mu)], [policy.actor.mu]
            heads += [policy.actor.log_std] if isinstance(getattr(policy.actor, "log_std", None), nn.Linear) else []
        else:
            raise UserError(f"{type(agent).__name__}: has no actor of its own, only agents with one can be resized")
        linear = [module for part in parts for module in part.modules() if isinstance(module, nn.Linear)]
        if not isinstance(heads[0], nn.Linear):  # TD3 has it in a row with the hidden layers
            heads = [linear.pop()] if linear else heads
        if not linear or any(True for _ in policy.features_extractor_class(policy.observation_space).parameters()):
            raise UserError(
                f"{type(policy).__name__}: only actors that are an MLP of 1 hidden layer or more are resized; "
                "WeiTPolicy is made from its bank or checkpoint at another size="
            )
        return cls(linear, heads, policy.activation_fn(), bool(policy.squash_output))

    def forward(self, x: Tensor) -> list[Tensor]:
        """What the heads give, the mean first, squashed as the agent does."""
        for layer in self.hidden:
            x = self.activation(layer(x))
        mean, *others = (head(x) for head in self.heads)
        return [torch.tanh(mean) if self.squash else mean, *others]

    def plan(self, edges: Sequence[int]) -> Plan:
        """Every hidden weight is composed; an axis is named by the layer whose channels lie along it.

        Args:
            edges: of every hidden layer, how many channels are in a tile.
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


def like(agent: Any, widths: Sequence[int]) -> Any:
    """A fresh agent with the same hyperparameters and an actor of other widths; all else in its policy is copied."""
    kind, arch = type(agent), agent.policy.net_arch
    critics = {key: value for key, value in arch.items() if key != "pi"} if isinstance(arch, dict) else {}
    critic = "vf" if hasattr(agent.policy, "mlp_extractor") else "qf"
    net_arch = {critic: arch} if isinstance(arch, list) else critics
    known = [name for name in inspect.signature(kind).parameters if name not in NOT_COPIED and hasattr(agent, name)]
    words = {name: getattr(agent, name) for name in known}
    words |= {"buffer_size": 1} if "buffer_size" in words else {}  # the old buffer is carried over
    kwargs = {**agent.policy_kwargs, "net_arch": {**net_arch, "pi": list(widths)}}
    new = kind(agent.policy_class, agent.get_env(), policy_kwargs=kwargs, device=agent.device, **words)
    old, fresh = agent.policy.state_dict(), new.policy.state_dict()
    alike = {name: tensor for name, tensor in old.items() if tensor.shape == fresh[name].shape}
    new.policy.load_state_dict(fresh | alike)
    if getattr(agent, "log_ent_coef", None) is not None:
        new.log_ent_coef.data.copy_(agent.log_ent_coef.data)
    return new


def widen(teacher: Layers, student: Layers) -> None:
    """The student from the teacher's bank, resized: it acts as the teacher does, where factors are whole."""
    pairs = zip(teacher.hidden, student.hidden, strict=True)
    plan = teacher.plan([tile_edge(old.out_features, new.out_features) for old, new in pairs])  # type: ignore[arg-type]
    ranks = max(slot.shape[0] * slot.shape[1] for slot in plan.layout(teacher).values() if slot.rule.tile)
    bank: TemplateBank = bank_from(teacher, plan, ranks)  # all there are: nothing is lost
    net = network_of_size(bank, teacher, student, plan).materialize()
    student.load_state_dict(net.state_dict())


@torch.no_grad()
def narrow(teacher: Layers, student: Layers, states: Tensor) -> None:
    """The student fitted: of every layer the channels that say most, then each layer by ridge regression."""
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


def imitation(teacher: Layers, student: Layers, states: Tensor, seed: int) -> Tensor:
    """Squared difference of what the heads give on a drawn batch."""
    drawn = torch.randint(len(states), (BATCH,), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        wanted = teacher(states[drawn])
    return torch.stack(
        [F.mse_loss(have, want) for have, want in zip(student(states[drawn]), wanted, strict=True)]
    ).sum()


def seen_by(agent: Any, env: Any, steps: int = 5000) -> np.ndarray:
    """``(steps, obs)``: what an agent sees in a vectorised environment when it samples its actions."""
    rows: list[np.ndarray] = []
    observations = env.reset()
    while len(rows) * len(observations) < steps:
        rows.append(observations)
        observations = env.step(agent.predict(observations, deterministic=len(rows) % 2 == 0)[0])[0]
    return np.concatenate(rows)[:steps].astype(np.float32)


def _check(agent: Any, observations: np.ndarray) -> None:
    """UserError for an agent that nothing like it can be made of, or observations that are not its own."""
    name = type(agent).__name__
    if getattr(agent, "use_sde", False):  # whose noise is as wide as the actor
        raise UserError(f"{name}: explores with use_sde=True, which is not resized; only agents without it are")
    if agent.get_env() is None:
        raise UserError(f"{name}: has no environment; load it with one, {name}.load(PATH, env=ENV)")
    shape, wanted = np.shape(observations), agent.observation_space.shape
    if shape[1:] != wanted or not shape[0]:
        raise UserError(f"observations={shape}: must be (n, {wanted[0]}), what the agent sees; seen_by() plays some")


def _set(layer: Any, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
