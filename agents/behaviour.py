"""Behaviour policies: trained with Stable-Baselines3, kept as safetensors snapshots.

A snapshot holds the policy's tensors only, so reading one runs no code (an SB3 zip holds pickles).
The newest state of optimisers and replay buffer lies beside them and lets a stopped training go on.
"""

from __future__ import annotations

import copy
import csv
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file, save_file

from weit_rl.errors import UserError

STATE = "training_state.safetensors"
PROGRESS = "progress.csv"


@dataclass(frozen=True)
class BehaviourConfig:
    """How one behaviour policy is trained.

    Attributes:
        algorithm: ``SAC`` (stable-baselines3) or ``TQC`` (sb3-contrib).
        steps: environment steps in all.
        n_envs: environments stepped side by side.
        seed: seed of networks, exploration and environments.
        snapshot_every: environment steps between two snapshots.
        hyperparameters: keyword arguments of the algorithm's constructor.
    """

    algorithm: str = "SAC"
    steps: int = 600_000
    n_envs: int = 8
    seed: int = 0
    snapshot_every: int = 20_000
    hyperparameters: dict[str, Any] = field(default_factory=dict)


def make_behaviour(config: BehaviourConfig, make_env: Callable[[], Any]) -> Any:
    """Build the untrained Stable-Baselines3 agent (with its vectorised environment).

    Raises:
        UserError: if the algorithm or one of its hyperparameters is unknown.
    """
    import sb3_contrib
    import stable_baselines3
    from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

    known = {"SAC": stable_baselines3.SAC, "TQC": sb3_contrib.TQC}
    if config.algorithm not in known:
        raise UserError(f"algorithm={config.algorithm}: unknown, choose one of {', '.join(known)}")
    envs = VecMonitor(DummyVecEnv([make_env] * config.n_envs))
    # A copy, since Stable-Baselines3 writes into policy_kwargs.
    options = {"device": "cpu", "seed": config.seed, **copy.deepcopy(config.hyperparameters)}
    try:
        return known[config.algorithm]("MlpPolicy", envs, **options)
    except TypeError as error:
        raise UserError(f"hyperparameters of {config.algorithm}: {error}") from error


def train_behaviour(config: BehaviourConfig, make_env: Callable[[], Any], folder: Path) -> Path:
    """Train (or go on training) and write ``snapshot_<steps>.safetensors`` files into ``folder``.

    A stopped training goes on from its last snapshot when called again with the same arguments.
    """
    agent = make_behaviour(config, make_env)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / STATE).exists():
        load_training_state(agent, folder / STATE)
    log, started = folder / PROGRESS, time.monotonic()
    while agent.num_timesteps < config.steps:
        steps = min(config.snapshot_every, config.steps - agent.num_timesteps)
        agent.learn(steps, reset_num_timesteps=False, log_interval=1000)
        episodes = [float(info["r"]) for info in agent.ep_info_buffer]
        row = [agent.num_timesteps, float(np.mean(episodes)) if episodes else 0.0, time.monotonic() - started]
        save_snapshot(agent, folder / f"snapshot_{agent.num_timesteps:08d}.safetensors")
        save_training_state(agent, folder / STATE)
        _append(log, row)
        print(f"{config.algorithm} {row[0]} steps: training return {row[1]:.0f}, {row[2]:.0f} s", flush=True)
    return folder


def save_snapshot(agent: Any, path: Path) -> None:
    """Write the policy's tensors and the number of environment steps behind them."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in agent.policy.state_dict().items()}
    save_file(tensors, path, metadata={"steps": str(agent.num_timesteps)})


def load_snapshot(agent: Any, path: Path) -> Any:
    """Put a snapshot's tensors into an agent made by :func:`make_behaviour`."""
    agent.policy.load_state_dict(load_file(path))
    return agent


def save_training_state(agent: Any, path: Path) -> None:
    """Write everything needed to go on: networks, optimisers, replay buffer, counters (atomically)."""
    tensors: dict[str, torch.Tensor] = {f"policy.{k}": v for k, v in agent.policy.state_dict().items()}
    for name, optimizer in _optimizers(agent).items():
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    tensors["log_ent_coef"] = agent.log_ent_coef
    for name in _BUFFER:
        tensors[f"buffer.{name}"] = torch.from_numpy(getattr(agent.replay_buffer, name)[: _filled(agent)])
    counters = {"steps": agent.num_timesteps, "updates": agent._n_updates, "pos": agent.replay_buffer.pos}
    counters["full"] = int(agent.replay_buffer.full)
    temporary = path.with_suffix(".tmp")
    tensors = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    save_file(tensors, temporary, metadata={"counters": json.dumps(counters)})
    temporary.replace(path)


def load_training_state(agent: Any, path: Path) -> None:
    """The inverse of :func:`save_training_state`."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        counters = json.loads(file.metadata()["counters"])
    tensors = load_file(path)
    agent.policy.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("policy.")})
    agent.log_ent_coef.data.copy_(tensors["log_ent_coef"])
    for name, optimizer in _optimizers(agent).items():
        optimizer.load_state_dict(_optimizer_state(optimizer, name, tensors))
    arrays = load_arrays(path)
    for name in _BUFFER:
        getattr(agent.replay_buffer, name)[: len(arrays[f"buffer.{name}"])] = arrays[f"buffer.{name}"]
    agent.replay_buffer.pos, agent.replay_buffer.full = counters["pos"], bool(counters["full"])
    agent.num_timesteps, agent._n_updates = counters["steps"], counters["updates"]


_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def _optimizers(agent: Any) -> dict[str, torch.optim.Optimizer]:
    named = {"actor_opt": agent.actor.optimizer, "critic_opt": agent.critic.optimizer}
    return named | ({"ent_opt": agent.ent_coef_optimizer} if agent.ent_coef_optimizer else {})


def _optimizer_state(optimizer: torch.optim.Optimizer, name: str, tensors: dict[str, torch.Tensor]) -> dict:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(name + "."):
            _, index, entry = key.split(".")
            state.setdefault(int(index), {})[entry] = value
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


def _filled(agent: Any) -> int:
    buffer = agent.replay_buffer
    return buffer.buffer_size if buffer.full else buffer.pos


def _append(path: Path, row: list[float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(([["steps", "training_return", "seconds"]] if new else []) + [row])
