"""Training of behaviour policies with Stable-Baselines3; a stopped training continues from its last snapshot."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.agents.crash_watch import CrashWatch
from weit_rl.agents.hyperparameters import checked
from weit_rl.agents.running_statistics import NewStatistics, scaled
from weit_rl.agents.snapshots import load_training_state, save_snapshot, save_training_state
from weit_rl.common.errors import UserError
from weit_rl.common.output import print_line
from weit_rl.common.seeds import training_seed
from weit_rl.training.progress import Progress

STATE = "training_state.safetensors"
PROGRESS = "progress.csv"


@dataclass(frozen=True)
class BehaviourConfig:
    """The options of training one behaviour policy.

    Attributes:
        algorithm: ``SAC``, ``PPO`` (stable-baselines3) or ``TQC`` (sb3-contrib). PPO gets observations and rewards
            scaled by their running statistics.
        steps: environment steps in total.
        n_envs: environments stepped side by side.
        seed: of networks, exploration and environments.
        snapshot_every: environment steps between two snapshots.
        hyperparameters: keyword arguments of the algorithm's constructor.
    """

    algorithm: str = "SAC"
    steps: int = 600_000
    n_envs: int = 8
    seed: int = 0
    snapshot_every: int = 20_000
    hyperparameters: dict[str, Any] = field(default_factory=dict)


def make_behaviour(config: BehaviourConfig, make_env: Callable[[], Any], n_envs: int | None = None) -> Any:
    """Build the untrained Stable-Baselines3 agent with its vectorised environment.

    Args:
        config: options of the training.
        make_env: makes an environment.
        n_envs: number of environments of an agent that is only rolled out (default: as in training).

    Raises:
        UserError: if the algorithm is unknown or refuses its hyperparameters.
    """
    import sb3_contrib
    import stable_baselines3
    from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

    known = {"SAC": stable_baselines3.SAC, "TQC": sb3_contrib.TQC, "PPO": stable_baselines3.PPO}
    if config.algorithm not in known:
        raise UserError(f"algorithm={config.algorithm}: unknown, choose one of {', '.join(known)}")
    envs: Any = VecMonitor(DummyVecEnv([make_env] * (n_envs or config.n_envs)))
    try:
        given = checked(known[config.algorithm], config.hyperparameters, config.n_envs)
        options = {"device": "cpu", "seed": training_seed(config.seed), **given}
        if config.algorithm == "PPO":
            envs, options = scaled(envs, options)
        return known[config.algorithm]("MlpPolicy", envs, **options)
    except Exception as error:  # Stable-Baselines3 and torch raise many kinds; only the hyperparameters are new here
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"hyperparameters={config.hyperparameters}: {config.algorithm} refuses them ({reason}); correct them"
        ) from error


def train_behaviour(
    config: BehaviourConfig, make_env: Callable[[], Any], folder: Path, name: str = "of the behaviour policy"
) -> Path:
    """Train, or continue training, and write ``snapshot_<steps>.safetensors`` files into ``folder``.

    A stopped training continues from its last snapshot if this is called again with the same arguments.

    Args:
        config: options of the training.
        make_env: makes an environment.
        folder: for the snapshots.
        name: of the environment, for errors.

    Raises:
        UserError: if the simulation fails in most episodes.
    """
    agent = make_behaviour(config, make_env)
    folder.mkdir(parents=True, exist_ok=True)
    if load_training_state(agent, folder / STATE):
        _keep_snapshot(agent, folder)  # missing if the process was killed between writing the two
    with Progress(config.steps, f"{config.algorithm} training", agent.num_timesteps) as bar:
        _train(agent, config, folder, bar, CrashWatch(name))
    return folder


def _train(agent: Any, config: BehaviourConfig, folder: Path, bar: Progress, watch: CrashWatch) -> None:
    from stable_baselines3.common.callbacks import CallbackList, ConvertCallback

    def show(*_: Any) -> bool:
        bar.update(agent.num_timesteps)
        return True  # continue the training

    statistics = [NewStatistics()] if config.algorithm == "PPO" else []
    callbacks = CallbackList([*statistics, watch, ConvertCallback(show)])
    started = time.monotonic()
    while agent.num_timesteps < config.steps:
        steps = min(config.snapshot_every, config.steps - agent.num_timesteps)
        agent.learn(steps, callback=callbacks, reset_num_timesteps=False, log_interval=1000)
        episodes = [float(info["r"]) for info in agent.ep_info_buffer]
        row = [agent.num_timesteps, float(np.mean(episodes)) if episodes else 0.0, time.monotonic() - started]
        save_training_state(agent, folder / STATE)
        _append(folder / PROGRESS, row)
        _keep_snapshot(agent, folder)
        print_line(f"{config.algorithm} {row[0]} steps: training return {row[1]:.0f}, {row[2]:.0f} s")


def _keep_snapshot(agent: Any, folder: Path) -> None:
    """Write the snapshot of the current state, unless it exists."""
    path = folder / f"snapshot_{agent.num_timesteps:08d}.safetensors"
    if not path.exists():
        save_snapshot(agent, path)


def _append(path: Path, row: list[float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(([["steps", "training_return", "seconds"]] if new else []) + [row])
