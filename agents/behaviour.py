"""Behaviour policies: trained with Stable-Baselines3, kept as safetensors snapshots.

A snapshot holds the policy's tensors only, with a checksum, so reading one runs no code (an SB3 zip holds pickles).
The newest state of optimisers and replay buffer lies beside them and lets a stopped training go on.
"""

from __future__ import annotations

import copy
import csv
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weit_rl.errors import UserError
from weit_rl.tensorfile import Card, read_tensors, write_tensors
from weit_rl.training.checkpoint import fill_optimizer, flatten_optimizer
from weit_rl.training.progress import Progress

SNAPSHOT, TRAINING = "weit_rl snapshot 1", "weit_rl behaviour training 1"
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
        UserError: if the algorithm is unknown or refuses its hyperparameters.
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
        _check_numbers(known[config.algorithm], options)
        return known[config.algorithm]("MlpPolicy", envs, **options)
    except Exception as error:  # whatever Stable-Baselines3 and torch raise: nothing else is new here
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"hyperparameters={config.hyperparameters}: {config.algorithm} refuses them ({reason}); correct them"
        ) from error


def train_behaviour(config: BehaviourConfig, make_env: Callable[[], Any], folder: Path) -> Path:
    """Train (or go on training) and write ``snapshot_<steps>.safetensors`` files into ``folder``.

    A stopped training goes on from its last snapshot when called again with the same arguments.
    """
    agent = make_behaviour(config, make_env)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / STATE).exists():
        load_training_state(agent, folder / STATE)
    with Progress(config.steps, f"{config.algorithm} training", agent.num_timesteps) as bar:
        _train(agent, config, folder, bar)
    return folder


def _train(agent: Any, config: BehaviourConfig, folder: Path, bar: Progress) -> None:
    def show(*_: Any) -> bool:
        bar.update(agent.num_timesteps)
        return True  # go on

    started = time.monotonic()
    while agent.num_timesteps < config.steps:
        steps = min(config.snapshot_every, config.steps - agent.num_timesteps)
        agent.learn(steps, callback=show, reset_num_timesteps=False, log_interval=1000)
        episodes = [float(info["r"]) for info in agent.ep_info_buffer]
        row = [agent.num_timesteps, float(np.mean(episodes)) if episodes else 0.0, time.monotonic() - started]
        save_snapshot(agent, folder / f"snapshot_{agent.num_timesteps:08d}.safetensors")
        save_training_state(agent, folder / STATE)
        _append(folder / PROGRESS, row)
        print(f"{config.algorithm} {row[0]} steps: training return {row[1]:.0f}, {row[2]:.0f} s", flush=True)


def save_snapshot(agent: Any, path: Path) -> None:
    """Write the policy's tensors and the number of environment steps behind them (atomically, with a checksum)."""
    write_tensors(path, agent.policy.state_dict(), {"format": SNAPSHOT, "steps": agent.num_timesteps})


def load_snapshot(agent: Any, path: Path) -> Any:
    """Put a snapshot's tensors into an agent made by :func:`make_behaviour`; UserError if it is damaged."""
    with _reading(path, SNAPSHOT) as (tensors, _):
        agent.policy.load_state_dict(tensors)
    return agent


def save_training_state(agent: Any, path: Path) -> None:
    """Write everything needed to go on: networks, optimisers, replay buffer, counters (atomically)."""
    tensors: dict[str, torch.Tensor] = {f"policy.{k}": v for k, v in agent.policy.state_dict().items()}
    for name, optimizer in _optimizers(agent).items():
        tensors |= flatten_optimizer(optimizer, name)
    if agent.log_ent_coef is not None:  # None where ent_coef is a fixed number
        tensors["log_ent_coef"] = agent.log_ent_coef
    buffer = agent.replay_buffer
    for name in _BUFFER:
        tensors[f"buffer.{name}"] = torch.from_numpy(getattr(buffer, name)[: _filled(agent)])
    counters = {"steps": agent.num_timesteps, "updates": agent._n_updates, "pos": buffer.pos, "full": buffer.full}
    write_tensors(path, tensors, {"format": TRAINING, **counters})


def load_training_state(agent: Any, path: Path) -> None:
    """The inverse of :func:`save_training_state`; UserError if the file is damaged."""
    with _reading(path, TRAINING) as (tensors, card):
        agent.policy.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("policy.")})
        if agent.log_ent_coef is not None:
            agent.log_ent_coef.data.copy_(tensors["log_ent_coef"])
        for name, optimizer in _optimizers(agent).items():
            fill_optimizer(optimizer, tensors, name)
        for name in _BUFFER:
            stored = tensors[f"buffer.{name}"].numpy()
            getattr(agent.replay_buffer, name)[: len(stored)] = stored
        agent.replay_buffer.pos, agent.replay_buffer.full = card["pos"], card["full"]
        agent.num_timesteps, agent._n_updates = card["steps"], card["updates"]


_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def _optimizers(agent: Any) -> dict[str, torch.optim.Optimizer]:
    named = {"actor_opt": agent.actor.optimizer, "critic_opt": agent.critic.optimizer}
    return named | ({"ent_opt": agent.ent_coef_optimizer} if agent.ent_coef_optimizer else {})


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[tuple[dict[str, torch.Tensor], Card]]:
    """The tensors and the card of a file; what goes wrong with them becomes one line."""
    anew = "or start anew in another run_dir"
    try:
        tensors, card = read_tensors(path)
        if card.get("format") != kind:
            raise UserError(f"{path}: holds no {kind} (format {card.get('format')!r}); restore it")
        yield tensors, card
    except UserError as error:
        raise UserError(f"{error}, {anew}") from error
    except (RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"{path}: was made with other hyperparameters; restore it, {anew}") from error


def _check_numbers(algorithm: type, options: dict[str, Any]) -> None:
    """Refuse early what Stable-Baselines3 would stumble over in the middle of the training."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(algorithm).parameters.items()}
    for name in set(options) & set(defaults) - {"train_freq"}:  # train_freq may be [1, episode]
        value, default = options[name], defaults[name]
        if type(default) is int and not isinstance(value, int):
            raise TypeError(f"{name} must be an integer")
        if type(default) is float and (value is None or isinstance(value, str | list | dict)):
            raise TypeError(f"{name} must be a number")


def _filled(agent: Any) -> int:
    buffer = agent.replay_buffer
    return buffer.buffer_size if buffer.full else buffer.pos


def _append(path: Path, row: list[float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(([["steps", "training_return", "seconds"]] if new else []) + [row])
