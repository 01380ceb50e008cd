"""The base of ``"WeiTPolicy"``: options of an actor whose layers are made from a template bank."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from weit_rl.agents.actor_inputs import ActorInput, usual_extractor
from weit_rl.agents.older_optimizers import read_older_optimizers
from weit_rl.agents.outside_normaliser import check_normalised_once
from weit_rl.agents.trunk import ActorStart, Trunk
from weit_rl.common.errors import UserError

NAME = "WeiTPolicy"
LOG_STD = -2.0  # of a trained actor: it explores, and keeps most of its return


class WeiTPolicy:
    """The shared part of all policies: options of the actor, and how they are saved.

    Args:
        observation_space: pictures, bytes with their channels first (with ``normalize_images=False`` any Box of three
            axes); any other Box, Discrete, MultiDiscrete or MultiBinary, or a Dict of all these, concatenated.
        action_space: of the environment.
        lr_schedule: Stable-Baselines3's.
        bank: path of a bank of such a model, or the environment whose bank ships (default None: untrained weights).
        checkpoint: a network of such a model to start from instead, the folder of its run or its file (default None).
        size: of the actor, a name of the ladder or ``WIDTHxDEPTH`` (default "small"); a checkpoint has its own.
        mode: ``"dense"`` (default) trains a plain network, ``"scalers"`` freezes the bank's templates.
        body: a body of the bank, ``"new"`` or ``"auto"`` (default): whether the bank's embedding, normaliser and head
            are used too.
        options: of the algorithm's ``"MlpPolicy"``; ``net_arch`` is for critics only (``vf``, ``qf``). ``log_std_init``
            is for actions in [-1, 1] (default -2 for a trained actor, else the algorithm's own); with ``use_sde`` it
            sets the initial noise at any width. A ``features_extractor_class`` of your own stands before critics and
            before the actor's network, whose embedding is then untrained.

    Raises:
        UserError: for a bank that does not fit, a space that cannot be read, layers for the actor in ``net_arch``, a
            shared features extractor, or an environment that normalises observations as the bank does.
    """

    critic_layers: ClassVar[dict[str, list[int]]] = {}  # layers of networks other than the actor
    adam: ClassVar[dict[str, Any]] = {}  # Stable-Baselines3's settings of Adam
    sde: ClassVar[dict[str, float]] = {}  # options of use_sde that differ from Stable-Baselines3
    normalises = False  # True if the actor has a normaliser

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
        self.start = ActorStart(bank, checkpoint, size, mode, body)
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
        if "optimizer_class" not in options:  # Adam, whose fused form replaces many calls by one
            options.setdefault("optimizer_kwargs", {"fused": True, **self.adam})
        super().__init__(observation_space, action_space, lr_schedule, **options)  # type: ignore[call-arg]
        read_older_optimizers(self)  # type: ignore[arg-type]

    def layers(self, net_arch: Any) -> Any:
        """Return ``net_arch`` with no layers for the actor."""
        asked = net_arch or {}
        if not isinstance(asked, dict) or asked.keys() - self.critic_layers.keys() - {"pi"} or asked.get("pi"):
            critics = ", ".join(f"{name}={value}" for name, value in self.critic_layers.items())
            instead = f"give dict({critics})" if critics else "leave it out"
            raise UserError(f"net_arch={net_arch}: the layers of WeiTPolicy's actor come from size=; {instead}")
        return {"pi": [], **self.critic_layers, **asked} if self.critic_layers else []

    def trunk(self) -> tuple[Trunk, nn.Linear | None]:
        """Return the actor's layers, and the bank's head."""
        policy: Any = self
        space, scaled_here = policy.observation_space, policy.normalize_images
        extractor = policy.features_extractor_class, policy.features_extractor_kwargs
        trunk, head = self.start.trunk(ActorInput.of(space, scaled_here, *extractor), policy.action_space)
        self.normalises = head is not None
        if self.normalises:
            check_normalised_once(self.start.named)
        return trunk, head

    def set_training_mode(self, mode: bool) -> None:
        """Set the mode as Stable-Baselines3 does, and before training check an environment that ``set_env`` gave."""
        if mode and self.normalises:
            check_normalised_once(self.start.named)
        super().set_training_mode(mode)  # type: ignore[misc]

    def log_std_of(self, head: nn.Linear | None) -> float:
        """Return the logarithm of the initial standard deviation of actions in [-1, 1]."""
        usual = 0.0 if head is None else LOG_STD
        return usual if self.asked is None else self.asked

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | vars(self.start)  # type: ignore[misc]


def _refuse_kwargs(given: Any) -> None:
    if given:
        raise UserError(
            f"features_extractor_kwargs={given}: these observations have no features extractor; leave it out, give "
            "features_extractor_class, or normalize_images=False where they are pictures scaled beforehand"
        )
