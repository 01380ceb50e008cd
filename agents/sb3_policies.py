"""``"WeiTPolicy"`` of Stable-Baselines3's algorithms: an actor whose layers are made from a template bank.

    PPO("WeiTPolicy", env, policy_kwargs=dict(bank=..., size="small"))

The actor is the policy network of ``model=mlp``, or of ``model=conv`` or ``convnext_policy`` for pictures. For a body
of the bank, its action head is the bank's. Critics keep their own network, as in ``"MlpPolicy"``, ``"CnnPolicy"`` or
``"MultiInputPolicy"``. In DQN, the whole Q-network except its head is made from the bank.

Saved agents name the classes of this module, so these keep their names and place.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sb3_contrib import TQC
from sb3_contrib.tqc.policies import TQCPolicy
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy

from weit_rl.agents.policy_families import RolloutActor, SquashedActor, ValuePolicy
from weit_rl.agents.weit_policy import NAME, WeiTPolicy


class OnPolicy(RolloutActor, ActorCriticPolicy):  # type: ignore[misc]  # it gives features of both, of one preparation
    """The policy of PPO and A2C."""


class SACWeiT(SquashedActor, SACPolicy):
    """The policy of SAC."""

    critic_layers: ClassVar[Any] = {"qf": [256, 256]}
    sde: ClassVar[dict[str, float]] = {"clip_mean": 0.0}  # else a trained actor's means are cut


class TQCWeiT(SquashedActor, TQCPolicy):
    """The policy of TQC."""

    critic_layers: ClassVar[Any] = {"qf": [256, 256]}
    sde: ClassVar[dict[str, float]] = {"clip_mean": 0.0}  # else a trained actor's means are cut


class TD3WeiT(SquashedActor, TD3Policy):
    """The policy of TD3 and DDPG."""

    critic_layers: ClassVar[Any] = {"qf": [400, 300]}


class DQNWeiT(ValuePolicy, DQNPolicy):
    """The policy of DQN: its Q-network."""


POLICIES: dict[Any, type[WeiTPolicy]] = {
    PPO: OnPolicy,
    A2C: OnPolicy,
    SAC: SACWeiT,
    TQC: TQCWeiT,
    TD3: TD3WeiT,
    DDPG: TD3WeiT,
    DQN: DQNWeiT,
}
for _algorithm, _policy in POLICIES.items():
    _algorithm.policy_aliases[NAME] = _policy
