"""Online training with a Stable-Baselines3 algorithm, from a network that was trained on offline data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sb3_contrib
import stable_baselines3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from torch import nn

from weit_rl.agents.hyperparameters import checked
from weit_rl.agents.weit_policy import NAME
from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.seeds import training_seed
from weit_rl.envs.registry import EnvEntry

ALGORITHMS = {
    "sac": stable_baselines3.SAC,
    "tqc": sb3_contrib.TQC,
    "td3": stable_baselines3.TD3,
    "ddpg": stable_baselines3.DDPG,
    "ppo": stable_baselines3.PPO,
    "a2c": stable_baselines3.A2C,
}
DETERMINISTIC = ("td3", "ddpg")  # algorithms whose actors do not explore by themselves
NOISE = 0.1  # standard deviation of their exploration noise on actions in [-1, 1], as in the TD3 paper


def make_online(
    agent: str, entry: EnvEntry, n_envs: int, seed: int, options: dict[str, Any], untrained: bool = False, **start: str
) -> Any:
    """Make an agent of Stable-Baselines3 with ``WeiTPolicy``.

    Args:
        agent: a name in ``ALGORITHMS``.
        entry: the environment.
        n_envs: environments stepped side by side.
        seed: of networks, exploration and environments.
        options: keyword arguments of the algorithm; its ``policy_kwargs`` too. ``action_noise`` is a number, the
            standard deviation of normal noise on actions in [-1, 1] (default 0.1 for TD3 and DDPG, else none).
        untrained: whether the actor is untrained and explores as Stable-Baselines3's does (default False).
        start: the start of its actor, ``checkpoint=PATH`` or another option of ``WeiTPolicy``.

    Raises:
        UserError: for an unknown name, or options that the algorithm refuses.
    """
    if agent not in ALGORITHMS:
        raise unknown_name_error("agent", agent, list(ALGORITHMS))
    usual = {"log_std_init": 0.0} if untrained and agent not in DETERMINISTIC else {}
    try:
        words = {"seed": training_seed(seed), "device": "cpu", **checked(ALGORITHMS[agent], options, n_envs)}
        words["policy_kwargs"] = {**usual, **(words.get("policy_kwargs") or {}), **start}
        if agent in DETERMINISTIC or "action_noise" in words:
            words["action_noise"] = _noise(words.get("action_noise", NOISE), entry.sizes[1])
        return ALGORITHMS[agent](NAME, environments(entry, n_envs), **words)
    except UserError:
        raise
    except Exception as error:  # Stable-Baselines3 and torch raise many kinds; only the options are new here
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"agent_options={options}: {agent} refuses them ({reason}); correct them") from error


def _noise(spread: Any, actions: int) -> NormalActionNoise:
    if isinstance(spread, bool) or not isinstance(spread, int | float) or not 0 <= spread < float("inf"):
        raise TypeError("action_noise must be a number, 0 or more: the standard deviation on actions in [-1, 1]")
    return NormalActionNoise(np.zeros(actions, np.float32), np.full(actions, spread, np.float32))


def environments(entry: EnvEntry, count: int) -> VecMonitor:
    """Make ``count`` environments side by side in this process, with a record of their episodes' returns."""
    return VecMonitor(DummyVecEnv([entry.make] * count))


class WarmUp(BaseCallback):
    """A callback that freezes the actor's mean action during the critics' warm-up, and shows progress.

    A trained actor would follow critics that are still untrained. Its exploration (``log_std``) and the weight of its
    entropy are trained from the first step on.

    Args:
        warm_up: environment steps in which the mean action is frozen.
        show: called with the number of environment steps done.
        stopped: returns another number than 0 to end the training (default: never).
    """

    def __init__(self, warm_up: int, show: Callable[[int], None], stopped: Callable[[], int] = lambda: 0):
        super().__init__()
        self.warm_up, self.show, self.stopped = warm_up, show, stopped

    def _on_training_start(self) -> None:
        self.let(self.model.num_timesteps >= self.warm_up)

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.warm_up:
            self.let(True)
        self.show(self.num_timesteps)
        return not self.stopped()

    def let(self, learn: bool) -> None:
        """Train the mean action, or freeze it."""
        for module in actor_of(self.model).values():
            module.requires_grad_(learn)


def actor_of(agent: Any) -> dict[str, nn.Module]:
    """Return the actor's layers, ``trunk``, and the ``head`` on them."""
    if hasattr(agent.policy, "actor"):
        return {"trunk": agent.actor.features_extractor, "head": _linear(agent.actor.mu)}
    return {"trunk": agent.policy.pi_features_extractor, "head": _linear(agent.policy.action_net)}


def copy_actor(agent: Any, net: Any) -> None:
    """Write an agent's actor into a policy of ``model=mlp`` with ``rtg="none"``, which then acts by its mean."""
    actor = actor_of(agent)
    state = {**actor["trunk"].net.state_dict()}  # type: ignore[union-attr,operator]
    state |= {f"head.{name}": tensor for name, tensor in actor["head"].state_dict().items()}
    net.load_state_dict(state)


def _linear(head: nn.Module) -> nn.Module:
    return next(module for module in head.modules() if isinstance(module, nn.Linear))
