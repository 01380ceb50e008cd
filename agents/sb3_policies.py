"""``"WeiTPolicy"`` of Stable-Baselines3's algorithms: an actor whose layers are made from a template bank.

    PPO("WeiTPolicy", env, policy_kwargs=dict(bank=..., size="small"))

The actor is the policy network of ``model=mlp``, of pictures that of ``model=conv`` or ``convnext_policy``; its action
head is the bank's for the bank's own body. Critics keep a network of their own, as in ``"MlpPolicy"`` or
``"CnnPolicy"``. Of DQN, the whole Q-network is made from the bank, but for its head.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from sb3_contrib import TQC
from sb3_contrib.tqc.policies import TQCPolicy
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from weit_rl.agents.older_optimizers import read_older_optimizers
from weit_rl.agents.trunk import Start, Trunk
from weit_rl.errors import UserError

NAME = "WeiTPolicy"
LOG_STD = -2.0  # of an actor that can act: explores, and keeps most of its return


class WeiTPolicy:
    """What the policies share: options of the actor, and their way through saving.

    Args:
        observation_space: a flat Box, or pictures, bytes with their channels first.
        action_space: of the environment.
        lr_schedule: Stable-Baselines3's.
        bank: path of a bank of such a model, or the environment whose bank ships (default None: fresh weights).
        checkpoint: a network of such a model to begin with instead, the folder of its run or its file (default None).
        size: of the actor, a name of the ladder or ``WIDTHxDEPTH`` (default "small"); a checkpoint has its own.
        mode: ``"dense"`` (default) trains a plain network, ``"scalers"`` keeps the bank's templates as they are.
        body: one of the bank's, ``"new"`` or ``"auto"`` (default): whether embedding, normaliser and head are its too.
        options: of the algorithm's ``"MlpPolicy"``; in ``net_arch`` critics only (``vf``, ``qf``). ``log_std_init`` is
            that of actions in [-1, 1] (default -2 for an actor that can act, else the algorithm's own).

    Raises:
        UserError: for a bank that does not fit, a space other than a flat Box, or layers asked for the actor,
            and for ``use_sde``.
    """

    critic_layers: ClassVar[dict[str, list[int]]] = {}  # what has layers of its own beside the actor
    adam: ClassVar[dict[str, float]] = {}  # what Stable-Baselines3 sets of it

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Any,
        bank: str | Path | None = None,
        checkpoint: str | Path | None = None,
        size: str = "small",
        mode: str = "dense",
        body: str = "auto",
        **options: Any,
    ):
        self.start = Start(bank, checkpoint, size, mode, body)
        self.asked: float | None = options.get("log_std_init")
        if options.get("use_sde"):
            raise UserError(
                "use_sde=True: its noise grows with the width of WeiTPolicy's actor, and it clips the means of a "
                "trained one; leave it out"
            )
        if options.pop("share_features_extractor", False):
            raise UserError("share_features_extractor=True: critics have a network of their own in WeiTPolicy")
        options |= {"share_features_extractor": False} if self.critic_layers else {}
        if is_image_space(observation_space):
            options.setdefault("features_extractor_class", NatureCNN)  # of critics
        options["net_arch"] = self.layers(options.get("net_arch"))
        if "optimizer_class" not in options:  # then it is Adam, whose fused form makes one call of many
            options.setdefault("optimizer_kwargs", {"fused": True, **self.adam})
        super().__init__(observation_space, action_space, lr_schedule, **options)  # type: ignore[call-arg]
        read_older_optimizers(self)  # type: ignore[arg-type]

    def layers(self, net_arch: Any) -> Any:
        """``net_arch`` with nothing in it for the actor."""
        asked = net_arch or {}
        if not isinstance(asked, dict) or asked.keys() - self.critic_layers.keys() - {"pi"} or asked.get("pi"):
            critics = ", ".join(f"{name}={value}" for name, value in self.critic_layers.items())
            instead = f"give dict({critics})" if critics else "leave it out"
            raise UserError(f"net_arch={net_arch}: the layers of WeiTPolicy's actor come from size=; {instead}")
        return {"pi": [], **self.critic_layers, **asked} if self.critic_layers else []

    def trunk(self) -> tuple[Trunk, nn.Linear | None]:
        """The actor's layers, and the bank's head."""
        policy: Any = self
        return self.start.trunk(policy.observation_space, policy.action_space, policy.normalize_images)

    def log_std_of(self, head: nn.Linear | None) -> float:
        """The logarithm of the first standard deviation of actions in [-1, 1]."""
        usual = 0.0 if head is None else LOG_STD
        return usual if self.asked is None else self.asked

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | vars(self.start)  # type: ignore[misc]


class OnPolicy(WeiTPolicy, ActorCriticPolicy):
    """Of PPO and A2C. Means lie within the bounds of a Box, as those of the bank's policies do."""

    critic_layers: ClassVar[dict[str, list[int]]] = {"vf": [64, 64]}
    adam: ClassVar[dict[str, float]] = {"eps": 1e-5}

    def _build(self, lr_schedule: Any) -> None:
        self.pi_features_extractor, head = self.trunk()
        self.features_extractor = self.pi_features_extractor
        super()._build(lr_schedule)
        if head is not None:
            self.action_net.load_state_dict(head.state_dict())
        if isinstance(self.action_space, spaces.Box) and self.action_space.is_bounded():
            squash = Squash(self.action_space)
            self.action_net = nn.Sequential(self.action_net, squash)
            self.log_std.data.copy_(self.log_std_of(head) + squash.reach.log())

    def extract_features(  # type: ignore[override]
        self, obs: Any, features_extractor: Any = None
    ) -> tuple[Tensor, Tensor]:
        """The actor's and the critic's, of observations that are prepared once for both."""
        seen = preprocess_obs(obs, self.observation_space, self.normalize_images)
        return self.pi_features_extractor(seen), self.vf_features_extractor(seen)

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()  # for the critic, whose input has another size
        self.mlp_extractor.latent_dim_pi = self.pi_features_extractor.features_dim


class Squash(nn.Module):
    """From all numbers into the bounds of a Box."""

    middle: Tensor
    reach: Tensor

    def __init__(self, box: spaces.Box):
        super().__init__()
        low, high = torch.as_tensor(box.low).flatten(), torch.as_tensor(box.high).flatten()
        self.register_buffer("middle", (high + low) / 2)
        self.register_buffer("reach", (high - low) / 2)
        self.is_unit = bool((self.middle == 0).all() and (self.reach == 1).all())

    def forward(self, x: Tensor) -> Tensor:
        """``(B, act) -> (B, act)``."""
        inside = torch.tanh(x)
        return inside if self.is_unit else self.middle + self.reach * inside


class OffPolicy(WeiTPolicy):
    """Of algorithms with an actor whose actions are squashed."""

    def make_actor(self, features_extractor: Any = None) -> Any:
        """An actor on the bank's layers."""
        trunk, head = self.trunk()
        actor = super().make_actor(trunk)  # type: ignore[misc]
        if head is not None:
            mean = next(module for module in actor.mu.modules() if isinstance(module, nn.Linear))
            mean.load_state_dict(head.state_dict())
        spread = getattr(actor, "log_std", None)  # a layer: one for each state
        if spread is not None and (head is not None or self.asked is not None):
            nn.init.zeros_(spread.weight)
            nn.init.constant_(spread.bias, self.log_std_of(head))
        return actor


class SACWeiT(OffPolicy, SACPolicy):
    """Of SAC."""

    critic_layers: ClassVar[Any] = {"qf": [256, 256]}


class TQCWeiT(OffPolicy, TQCPolicy):
    """Of TQC."""

    critic_layers: ClassVar[Any] = {"qf": [256, 256]}


class TD3WeiT(OffPolicy, TD3Policy):
    """Of TD3 and DDPG."""

    critic_layers: ClassVar[Any] = {"qf": [400, 300]}


class DQNWeiT(WeiTPolicy, DQNPolicy):
    """Of DQN: the Q-network."""

    def make_features_extractor(self) -> Trunk:
        """The bank's layers, for the network and its target."""
        return self.trunk()[0]


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
