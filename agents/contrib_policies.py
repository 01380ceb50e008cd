"""``"WeiTPolicy"`` for sb3-contrib's algorithms other than TQC, and an error line for those that cannot use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from sb3_contrib import ARS, QRDQN, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.crossq.policies import CrossQPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from torch import nn

from weit_rl.agents.policy_families import RolloutActor, SquashedActor, ValuePolicy
from weit_rl.agents.sb3_policies import OnPolicy
from weit_rl.agents.weit_policy import NAME, WeiTPolicy
from weit_rl.common.errors import UserError


class TRPOWeiT(OnPolicy):
    """The policy of TRPO."""

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield only trained parameters: TRPO differentiates all it gets, and a bank's templates are frozen."""
        return (pair for pair in super().named_parameters(*args, **kwargs) if pair[1].requires_grad)


class MaskablePPOWeiT(RolloutActor, MaskableActorCriticPolicy):  # type: ignore[misc]  # as OnPolicy
    """The policy of MaskablePPO, whose actions are choices."""


class QRDQNWeiT(ValuePolicy, QRDQNPolicy):
    """The policy of QR-DQN: its network of quantiles."""


class CrossQWeiT(SquashedActor, CrossQPolicy):
    """The policy of CrossQ. Critics have its batch normalisation, the actor has the bank's layer normalisation."""

    critic_layers: ClassVar[Any] = {"qf": [1024, 1024]}
    adam: ClassVar[dict[str, Any]] = {"betas": (0.5, 0.999)}
    sde: ClassVar[dict[str, float]] = {"clip_mean": 0.0}


class Refusal:
    """A policy that cannot be made; its constructor raises UserError."""

    instead: ClassVar[str]

    def __init__(self, *_: Any, **__: Any):
        raise UserError(f"{NAME}: {self.instead}")


class RecurrentRefusal(Refusal):
    """The refusal of RecurrentPPO."""

    instead = (
        "RecurrentPPO puts an LSTM between an actor's layers and its head, which no bank has; use PPO with "
        "VecFrameStack, or train model=dt and act with weit_rl.agents.sequence_agent.SequenceAgent"
    )


class RandomSearchRefusal(Refusal):
    """The refusal of ARS."""

    instead = "ARS searches at random in all weights, which suits linear policies; use PPO or TRPO"


CONTRIB: dict[Any, type[WeiTPolicy]] = {
    TRPO: TRPOWeiT,
    MaskablePPO: MaskablePPOWeiT,
    QRDQN: QRDQNWeiT,
    CrossQ: CrossQWeiT,
}
REFUSED: dict[Any, type[Refusal]] = {RecurrentPPO: RecurrentRefusal, ARS: RandomSearchRefusal}
for _algorithm, _policy in (CONTRIB | REFUSED).items():
    _algorithm.policy_aliases[NAME] = _policy
