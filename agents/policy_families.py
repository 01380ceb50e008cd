"""Families of ``"WeiTPolicy"``: for learning from rollouts, for squashed actions, and for values of choices."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import Tensor, nn

from weit_rl.agents.action_bounds import Squash, check_scaled
from weit_rl.agents.trunk import Trunk
from weit_rl.agents.weit_policy import WeiTPolicy


class RolloutActor(WeiTPolicy):
    """A policy of algorithms that learn from rollouts; its mean actions lie within the bounds, like the bank's."""

    critic_layers: ClassVar[dict[str, list[int]]] = {"vf": [64, 64]}
    adam: ClassVar[dict[str, Any]] = {"eps": 1e-5}

    def _build(self, lr_schedule: Any) -> None:
        policy: Any = self
        policy.pi_features_extractor, head = self.trunk()
        policy.features_extractor = policy.pi_features_extractor
        super()._build(lr_schedule)  # type: ignore[misc]
        if head is not None:
            policy.action_net.load_state_dict(head.state_dict())
        if isinstance(policy.action_space, spaces.Box) and policy.action_space.is_bounded():
            self._bound(head)

    def _bound(self, head: nn.Linear | None) -> None:
        """Keep means within the bounds, and scale the noise to the bounds."""
        policy: Any = self
        squash, spread = Squash(policy.action_space), torch.tensor(self.log_std_of(head))
        if not policy.squash_output:  # otherwise Stable-Baselines3 squashes actions together with their noise
            policy.action_net = nn.Sequential(policy.action_net, squash)
            spread = spread + squash.reach.log()
        if policy.use_sde:  # log_std is a matrix, multiplied by the last hidden state
            spread = spread - policy.pi_features_extractor.length.log()
            spread = spread if policy.dist_kwargs["full_std"] else spread.mean()
        policy.log_std.data.copy_(spread)
        if policy.use_sde:
            policy.reset_noise()

    def extract_features(self, obs: Any, features_extractor: Any = None) -> tuple[Tensor, Tensor]:
        """Return the actor's and the critic's features, of observations that are preprocessed once for both."""
        policy: Any = self
        seen = preprocess_obs(obs, policy.observation_space, policy.normalize_images)
        return policy.pi_features_extractor(seen), policy.vf_features_extractor(seen)

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()  # type: ignore[misc]  # sized for the critic
        policy: Any = self
        policy.mlp_extractor.latent_dim_pi = policy.pi_features_extractor.features_dim


class SquashedActor(WeiTPolicy):
    """A policy of algorithms with an actor whose actions are squashed."""

    def make_actor(self, features_extractor: Any = None) -> Any:
        """Make an actor on the bank's layers."""
        policy: Any = self
        check_scaled(policy.action_space, type(self).__name__.removesuffix("WeiT"))
        trunk, head = self.trunk()
        actor = super().make_actor(trunk)  # type: ignore[misc]
        if head is not None:
            mean = next(module for module in actor.mu.modules() if isinstance(module, nn.Linear))
            mean.load_state_dict(head.state_dict())
        self._spread(actor, trunk, head)
        return actor

    def _spread(self, actor: Any, trunk: Trunk, head: nn.Linear | None) -> None:
        """Set the standard deviation of the noise, if the actor has its own."""
        spread = getattr(actor, "log_std", None)
        if isinstance(spread, nn.Parameter):  # use_sde: a matrix, multiplied by the last hidden state
            spread.data.fill_(self.log_std_of(head) - float(trunk.length.log()))
            actor.reset_noise()
        elif spread is not None and (head is not None or self.asked is not None):  # a layer: depends on the state
            nn.init.zeros_(spread.weight)
            nn.init.constant_(spread.bias, self.log_std_of(head))


class ValuePolicy(WeiTPolicy):
    """A policy of algorithms that choose by the values of actions."""

    def make_features_extractor(self) -> Trunk:
        """Return the bank's layers, for the network and its target."""
        return self.trunk()[0]
