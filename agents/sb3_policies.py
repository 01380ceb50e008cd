"""``"WeiTPolicy"`` of Stable-Baselines3's algorithms: an actor whose layers are made from a template bank.

    PPO("WeiTPolicy", env, policy_kwargs=dict(bank=..., size="small"))

The actor is the policy network of ``model=mlp``, of pictures that of ``model=conv`` or ``convnext_policy``; its action
head is the bank's for the bank's own body. Critics keep a network of their own, as in ``"MlpPolicy"``,
``"CnnPolicy"`` or ``"MultiInputPolicy"``. Of DQN, the whole Q-network is made from the bank, but for its head.
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
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from weit_rl.agents.action_bounds import Squash, check_scaled
from weit_rl.agents.actor_inputs import ActorInput, usual_extractor
from weit_rl.agents.older_optimizers import read_older_optimizers
from weit_rl.agents.outside_normaliser import check_normalised_once
from weit_rl.agents.trunk import Start, Trunk
from weit_rl.common.errors import UserError

NAME = "WeiTPolicy"
LOG_STD = -2.0  # of an actor that can act: explores, and keeps most of its return


class WeiTPolicy:
    """What the policies share: options of the actor, and their way through saving.

    Args:
        observation_space: pictures, bytes with their channels first (with ``normalize_images=False`` any Box of three
            axes); any other Box, Discrete, MultiDiscrete or MultiBinary, or a Dict of all these, laid in a row.
        action_space: of the environment.
        lr_schedule: Stable-Baselines3's.
        bank: path of a bank of such a model, or the environment whose bank ships (default None: fresh weights).
        checkpoint: a network of such a model to begin with instead, the folder of its run or its file (default None).
        size: of the actor, a name of the ladder or ``WIDTHxDEPTH`` (default "small"); a checkpoint has its own.
        mode: ``"dense"`` (default) trains a plain network, ``"scalers"`` keeps the bank's templates as they are.
        body: one of the bank's, ``"new"`` or ``"auto"`` (default): whether embedding, normaliser and head are its too.
        options: of the algorithm's ``"MlpPolicy"``; in ``net_arch`` critics only (``vf``, ``qf``). ``log_std_init`` is
            that of actions in [-1, 1] (default -2 for an actor that can act, else the algorithm's own), with
            ``use_sde`` of the noise as it begins, at any width. A ``features_extractor_class`` of your own stands
            before the actor's network, whose embedding is then a fresh one, and before critics.

    Raises:
        UserError: for a bank that does not fit, a space that cannot be read, layers asked for the actor, a shared
            features extractor, or an environment that normalises what the bank does too.
    """

    critic_layers: ClassVar[dict[str, list[int]]] = {}  # what has layers of its own beside the actor
    adam: ClassVar[dict[str, Any]] = {}  # what Stable-Baselines3 sets of it
    sde: ClassVar[dict[str, float]] = {}  # what use_sde does otherwise than in Stable-Baselines3
    normalises = False  # whether the actor has a normaliser of its own

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
        if options.pop("share_features_extractor", False):
            raise UserError(
                "share_features_extractor=True: critics have a network of their own in WeiTPolicy; leave it out"
            )
        options |= {"share_features_extractor": False} if self.critic_layers else {}
        options = (self.sde if options.get("use_sde") else {}) | options
        usual = usual_extractor(observation_space, options.get("normalize_images", True))
        if options.setdefault("features_extractor_class", usual) is FlattenExtractor:
            _refuse_kwargs(options.get("features_extractor_kwargs"))
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
        space, scaled_here = policy.observation_space, policy.normalize_images
        extractor = policy.features_extractor_class, policy.features_extractor_kwargs
        trunk, head = self.start.trunk(ActorInput.of(space, scaled_here, *extractor), policy.action_space)
        self.normalises = head is not None
        if self.normalises:
            check_normalised_once(self.start.named)
        return trunk, head

    def set_training_mode(self, mode: bool) -> None:
        """Do as Stable-Baselines3's; before training, look at an environment that ``set_env`` gave the algorithm."""
        if mode and self.normalises:
            check_normalised_once(self.start.named)
        super().set_training_mode(mode)  # type: ignore[misc]

    def log_std_of(self, head: nn.Linear | None) -> float:
        """The logarithm of the first standard deviation of actions in [-1, 1]."""
        usual = 0.0 if head is None else LOG_STD
        return usual if self.asked is None else self.asked

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | vars(self.start)  # type: ignore[misc]


class RolloutActor(WeiTPolicy):
    """Of algorithms that learn from rollouts. Means lie within the bounds of a Box, as those of the bank's do."""

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
        """Let means lie within the bounds, and noise be as wide as they ask for."""
        policy: Any = self
        squash, spread = Squash(policy.action_space), torch.tensor(self.log_std_of(head))
        if not policy.squash_output:  # then whole actions are squashed, noise and all
            policy.action_net = nn.Sequential(policy.action_net, squash)
            spread = spread + squash.reach.log()
        if policy.use_sde:  # a matrix, on the last hidden state
            spread = spread - policy.pi_features_extractor.length.log()
            spread = spread if policy.dist_kwargs["full_std"] else spread.mean()
        policy.log_std.data.copy_(spread)
        if policy.use_sde:
            policy.reset_noise()

    def extract_features(self, obs: Any, features_extractor: Any = None) -> tuple[Tensor, Tensor]:
        """The actor's and the critic's, of observations that are prepared once for both."""
        policy: Any = self
        seen = preprocess_obs(obs, policy.observation_space, policy.normalize_images)
        return policy.pi_features_extractor(seen), policy.vf_features_extractor(seen)

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()  # type: ignore[misc]  # for the critic, whose input has another size
        policy: Any = self
        policy.mlp_extractor.latent_dim_pi = policy.pi_features_extractor.features_dim


class OnPolicy(RolloutActor, ActorCriticPolicy):  # type: ignore[misc]  # it gives features of both, of one preparation
    """Of PPO and A2C."""


class OffPolicy(WeiTPolicy):
    """Of algorithms with an actor whose actions are squashed."""

    def make_actor(self, features_extractor: Any = None) -> Any:
        """An actor on the bank's layers."""
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
        """Let noise be as wide as it was asked for, where the actor has its own."""
        spread = getattr(actor, "log_std", None)
        if isinstance(spread, nn.Parameter):  # of use_sde: a matrix, on the last hidden state
            spread.data.fill_(self.log_std_of(head) - float(trunk.length.log()))
            actor.reset_noise()
        elif spread is not None and (head is not None or self.asked is not None):  # a layer: one for each state
            nn.init.zeros_(spread.weight)
            nn.init.constant_(spread.bias, self.log_std_of(head))


class SACWeiT(OffPolicy, SACPolicy):
    """Of SAC."""

    critic_layers: ClassVar[Any] = {"qf": [256, 256]}
    sde: ClassVar[dict[str, float]] = {"clip_mean": 0.0}  # else a trained actor's means are cut


class TQCWeiT(OffPolicy, TQCPolicy):
    """Of TQC."""

    critic_layers: ClassVar[Any] = {"qf": [256, 256]}
    sde: ClassVar[dict[str, float]] = {"clip_mean": 0.0}  # else a trained actor's means are cut


class TD3WeiT(OffPolicy, TD3Policy):
    """Of TD3 and DDPG."""

    critic_layers: ClassVar[Any] = {"qf": [400, 300]}


class Chooser(WeiTPolicy):
    """Of algorithms that choose by the values of actions."""

    def make_features_extractor(self) -> Trunk:
        """The bank's layers, for the network and its target."""
        return self.trunk()[0]


class DQNWeiT(Chooser, DQNPolicy):
    """Of DQN: the Q-network."""


def _refuse_kwargs(given: Any) -> None:
    if given:
        raise UserError(
            f"features_extractor_kwargs={given}: these observations have no features extractor; leave it out, give "
            "features_extractor_class, or normalize_images=False where they are pictures scaled beforehand"
        )


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
