"""The options of ``weit_rl.collect``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weit_rl.options.option_fields import Texts, group, option
from weit_rl.options.option_groups import LevelOptions
from weit_rl.options.shared_options import EnvOptions


@dataclass
class CollectOptions(EnvOptions):
    """Options of ``python -m weit_rl.collect``.

    Data to train on. mode=train makes it: a policy is trained with Stable-Baselines3, snapshots of it are kept, and
    random, medium and expert episodes recorded in Minari's format; the same command in the same run_dir goes on
    where it stopped. mode=demonstrate records the scripted expert of an environment that has one. mode=record
    records episodes of an agent that Stable-Baselines3 saved. mode=render plays a recorded set again and records it
    in pixels. mode=inspect prints what is in data sets.
    """

    mode: str | None = option(
        None,
        "train, demonstrate, record, render or inspect (null: demonstrate where env has a scripted expert, else train)",
    )
    env: Texts = option(
        "HalfCheetah",
        "environment to act in, by name, dmc/DOMAIN-TASK, metaworld/TASK or gym:ID; demonstrate: or several, "
        "metaworld/MT10",
    )
    pixels: bool | int = option(
        False,
        "record 64 x 64 pixels instead of states (true), or so many, 84; policies here still act by states",
    )
    run_dir: str | None = option(
        None,
        "folder for what is made (null: runs/collect-ENV, or runs/demonstrate-ENV, runs/record-ENV-AGENT, "
        "runs/render-ENV-DATA, new ones)",
    )
    dataset_id: str | None = option(
        None,
        "name in Minari, mine/hopper-v0 (null: weit_rl/ENV/LEVEL-v0); without run_dir, record and render write "
        "where Minari finds it; train names its levels mine/hopper/expert-v0, below data/ of run_dir",
    )
    seed: int = option(0, "of networks, exploration and environments, 0 to 2147483647")
    algorithm: str | None = option(
        None,
        "train: SAC (null), TQC or PPO; record: one of PPO, A2C, SAC, TD3, DDPG, TQC (null: as the agent's file says)",
    )
    data: Texts | None = option(
        None,
        "inspect: a level, path or list of them, as in weit_rl.train (null: all levels that ship for env); render: "
        "one of them",
    )
    agent: str | None = option(None, "record: the .zip that a Stable-Baselines3 agent's save() wrote")
    allow_pickle: bool = option(
        False,
        "record: whether to load agent and vec_normalize, whose pickles can run any code; only files you trust",
    )
    vec_normalize: str | None = option(None, "record: the pickled VecNormalize the agent was trained with, if it was")
    episodes: int = option(20, "demonstrate: successful episodes; record: episodes; render: so many, the first ones")
    noise: float = option(
        0.0,
        "demonstrate: standard deviation of the noise on executed actions, which lie in [-1, 1]; the recorded ones are "
        "the expert's own",
    )
    deterministic: bool = option(True, "record: act by the policy's mean; false samples from it")
    steps: int = option(340000, "train: environment steps")
    n_envs: int = option(8, "train: environments stepped side by side")
    snapshot_every: int = option(20000, "train: environment steps between two snapshots")
    hyperparameters: dict[str, Any] | None = option(
        None,
        "train: of the algorithm, {gamma: 0.99, batch_size: 128} (null or {}: this project's choice for it)",
    )
    selection_episodes: int = option(4, "train: episodes each snapshot is chosen by")
    evaluation_episodes: int = option(20, "train: episodes of the held evaluation that measures each level")
    levels: LevelOptions = group(LevelOptions)
