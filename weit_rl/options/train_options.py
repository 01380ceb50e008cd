"""The options of ``weit_rl.train``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weit_rl.options.model_words import ControlModelOptions
from weit_rl.options.option_fields import Texts, group, option
from weit_rl.options.option_groups import NamedSize, SizeOptions
from weit_rl.options.shared_options import ControlDataOptions, RunOptions, TargetOptions


@dataclass
class TrainOptions(RunOptions, ControlModelOptions, TargetOptions, ControlDataOptions):
    """Options of ``python -m weit_rl.train``.

    Train a policy of any size from offline trajectories, starting from the bank of templates (or from scratch), and
    score it in the environment. Two stages: scalers only, then the plain network without the constraint.
    """

    env: Texts = option(
        "HalfCheetah",
        "environment by name, dmc/DOMAIN-TASK, metaworld/TASK or gym:ID; several tasks of a family, metaworld/MT10",
    )
    size: NamedSize = group(SizeOptions)
    model: str | None = option(
        None,
        "policy network (null: dt, with agent= mlp): dt (decision transformer), tcn (causal convolutions over "
        "time), mlp (single states); of pixels: conv, convnext_policy, video (transformer over a clip); of states "
        "and pixels: multimodal",
    )
    init_options: dict[str, Any] = option({}, "options of the initialiser, such as {gain: orthonormal} of bot")
    bank: str | None = option(
        None,
        "path of a template bank or of the run that made it, hf:USER/NAME of the Hugging Face hub, or a name that "
        "one ships for (null: the one that ships for env)",
    )
    source: str | None = option(
        None,
        "run folder or checkpoint of a trained network to start from (null: the bank's own network)",
    )
    agent: str | None = option(
        None,
        "go on online as the actor of a Stable-Baselines3 agent: sac, tqc, td3, ddpg, ppo, a2c (null: offline only)",
    )
    agent_steps: int = option(100000, "environment steps online")
    agent_options: dict[str, Any] = option(
        {},
        "keyword arguments of the agent's algorithm, such as {learning_starts: 1000}; action_noise is a standard "
        "deviation (td3 and ddpg: 0.1)",
    )
    imitation: float | None = option(
        None,
        "weight online of the imitation of the data beside the algorithm's own loss (null: 10, where TD3+BC has 1; "
        "0 for an untrained actor)",
    )
    critic_warmup: int | None = option(
        None,
        "environment steps online in which the critics, and what the actor explores with, learn without its mean "
        "action (null: 5000; 0 for an untrained actor)",
    )
    n_envs: int = option(1, "environments stepped side by side online")
    scaler_lr: float | None = option(
        None,
        "peak learning rate of the initialiser's own stage (null: weit 3e-3, 1e-2 for another body or far sizes; "
        "less for wide sizes)",
    )
    train_lr: float | None = option(
        None,
        "peak learning rate of the training stage (null: 3e-3 from scratch, conv and from a bank 1e-3)",
    )
    weight_decay: float = option(0.0001, "AdamW's decay in the training stage (scalers have none)")
    grad_clip: float = option(0.25, "largest gradient norm")
    dropout: float = option(0.0, "share of each block's additions left out in training")
    best_fraction: float = option(1.0, "share of the episodes that is trained on, the best by return")
    target_return: float | None = option(None, "return asked of the policy (null: by the rule from the data)")
    episodes: int = option(20, "test episodes of the final evaluation")
    validation_episodes: int = option(
        5,
        "episodes of each evaluation on the way; the best checkpoint is chosen by these",
    )
    seed: int = option(0, "seed of weights, batches and environments")
