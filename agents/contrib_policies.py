"""``"WeiTPolicy"`` of sb3-contrib's algorithms beside TQC, and one line for those that cannot have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from sb3_contrib import ARS, QRDQN, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.crossq.policies import CrossQPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from torch import nn

from weit_rl.agents.sb3_policies import NAME, Chooser, OffPolicy, OnPolicy, RolloutActor, WeiTPolicy
from weit_rl.common.errors import UserError


class TRPOWeiT(OnPolicy):
    """Of TRPO."""

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """What is trained: TRPO differentiates all it is given, and a bank's templates are frozen."""
        return (pair for pair in super().named_parameters(*args, **kwargs) if pair[1].requires_grad)


class MaskablePPOWeiT(RolloutActor, MaskableActorCriticPolicy):  # type: ignore[misc]  # as OnPolicy
    """Of MaskablePPO, whose actions are choices."""


class QRDQNWeiT(Chooser, QRDQNPolicy):
    """Of QR-DQN: the network of quantiles."""


class CrossQWeiT(OffPolicy, CrossQPolicy):
    """Of CrossQ. Its batch normalisation is the critics'; the actor has the layer normalisation of the bank's."""

    critic_layers: ClassVar[Any] = {"qf": [1024, 1024]}
    adam: ClassVar[dict[str, Any]] = {"betas": (0.5, 0.999)}
    sde: ClassVar[dict[str, float]] = {"clip_mean": 0.0}


class Refusal:
    """A policy that is not to be had."""

    instead: ClassVar[str]

    def __init__(self, *_: Any, **__: Any):
        raise UserError(f"{NAME}: {self.instead}")


class RecurrentRefusal(Refusal):
    """Of RecurrentPPO."""

    instead = (
        "RecurrentPPO puts an LSTM between an actor's layers and its head, which no bank has; use PPO with "
        "VecFrameStack, or train model=dt and act with weit_rl.agents.sequence_agent.SequenceAgent"
    )


class RandomSearchRefusal(Refusal):
    """Of ARS."""

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
