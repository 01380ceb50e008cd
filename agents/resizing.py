"""Trained agents of Stable-Baselines3 with an actor of another size.

The actor's weights become a bank in closed form (``init=svd_bank``). A wider actor is resized from its scalers and acts
as the old one did. A narrower one is fitted layer by layer to the old activations, in closed form too. A short training
by imitation then brings either nearer to the old actor's actions.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weit_rl.agents.actor_layers import ActorLayers, narrow, widen
from weit_rl.agents.actor_widths import widths_times
from weit_rl.agents.carried_training import carry_training
from weit_rl.common.errors import UserError
from weit_rl.training.loop import OptimizerRecipe, fit

BATCH, NOT_COPIED = 256, ("self", "policy", "env", "policy_kwargs", "_init_setup_model", "device")


def resized(
    agent: Any, factor: float, observations: np.ndarray, steps: int = 300, lr: float = 1e-3, seed: int = 0
) -> Any:
    """Return the agent with an actor of another width; critics, hyperparameters and environment stay as they are.

    Its training continues with ``learn(..., reset_num_timesteps=False)``: at the same step count and place in the
    schedules, with the same replay buffer, which both agents share, and the moments of the critics' optimizers.

    Args:
        agent: of PPO, A2C, SAC, TQC, TD3 or DDPG with ``"MlpPolicy"``, with an environment set.
        factor: width of every hidden layer of the actor, as a multiple of the old one.
        observations: ``(n, obs)`` as the agent sees them, some thousands, from its own episodes.
        steps: gradient steps of imitation; 0 for none.
        lr: their peak learning rate.
        seed: of all random numbers.

    Returns:
        A new agent of the same class, which can be trained further.

    Raises:
        UserError: for another kind of policy, one with ``use_sde``, an agent without environment, observations of
            another size, or a factor that gives no whole number of channels.
    """
    teacher = ActorLayers.of(agent)
    _check(agent, observations)
    wanted = widths_times([layer.out_features for layer in teacher.hidden], factor)  # type: ignore[misc]
    new = like(agent, wanted)
    student, states = ActorLayers.of(new), torch.as_tensor(observations, dtype=torch.float32, device=agent.device)
    if factor < 1:
        narrow(teacher, student, states)
    else:
        widen(teacher, student)
    fit(student, lambda step: imitation(teacher, student, states, seed * 1_000_003 + step), OptimizerRecipe(steps, lr))
    if hasattr(new, "actor_target"):
        new.actor_target.load_state_dict(new.actor.state_dict())
    carry_training(agent, new)
    return new


def like(agent: Any, widths: Sequence[int]) -> Any:
    """Make an untrained agent with the same hyperparameters and other actor widths, and copy the rest of its policy."""
    kind, arch = type(agent), agent.policy.net_arch
    critics = {key: value for key, value in arch.items() if key != "pi"} if isinstance(arch, dict) else {}
    critic = "vf" if hasattr(agent.policy, "mlp_extractor") else "qf"
    net_arch = {critic: arch} if isinstance(arch, list) else critics
    known = [name for name in inspect.signature(kind).parameters if name not in NOT_COPIED and hasattr(agent, name)]
    words = {name: getattr(agent, name) for name in known}
    words |= {"buffer_size": 1} if "buffer_size" in words else {}  # replaced by the old agent's buffer
    kwargs = {**agent.policy_kwargs, "net_arch": {**net_arch, "pi": list(widths)}}
    new = kind(agent.policy_class, agent.get_env(), policy_kwargs=kwargs, device=agent.device, **words)
    old, fresh = agent.policy.state_dict(), new.policy.state_dict()
    alike = {name: tensor for name, tensor in old.items() if tensor.shape == fresh[name].shape}
    new.policy.load_state_dict(fresh | alike)
    if getattr(agent, "log_ent_coef", None) is not None:
        new.log_ent_coef.data.copy_(agent.log_ent_coef.data)
    return new


def imitation(teacher: ActorLayers, student: ActorLayers, states: Tensor, seed: int) -> Tensor:
    """Return the squared difference of the heads' outputs on a random batch."""
    drawn = torch.randint(len(states), (BATCH,), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        wanted = teacher(states[drawn])
    return torch.stack(
        [F.mse_loss(have, want) for have, want in zip(student(states[drawn]), wanted, strict=True)]
    ).sum()


def collect_observations(agent: Any, env: Any, steps: int = 5000) -> np.ndarray:
    """Collect ``(steps, obs)`` observations of an agent in a vectorised environment; it samples every other action."""
    rows: list[np.ndarray] = []
    observations = env.reset()
    while len(rows) * len(observations) < steps:
        rows.append(observations)
        observations = env.step(agent.predict(observations, deterministic=len(rows) % 2 == 0)[0])[0]
    return np.concatenate(rows)[:steps].astype(np.float32)


def _check(agent: Any, observations: np.ndarray) -> None:
    """Raise UserError for an agent that cannot be resized, or observations of another agent."""
    name = type(agent).__name__
    if getattr(agent, "use_sde", False):  # its noise has the width of the actor
        raise UserError(f"{name}: explores with use_sde=True, which is not resized; only agents without it are")
    if agent.get_env() is None:
        raise UserError(f"{name}: has no environment; load it with one, {name}.load(PATH, env=ENV)")
    shape, wanted = np.shape(observations), agent.observation_space.shape
    if shape[1:] != wanted or not shape[0]:
        raise UserError(f"observations={shape}: must be (n, {wanted[0]}), what the agent sees; seen_by() plays some")
