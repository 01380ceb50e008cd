"""The returns that scores are measured against, all in one table: score 0 and score 100, and where each is from."""

from __future__ import annotations

from typing import NamedTuple


class Reference(NamedTuple):
    """Reference returns of one environment; None where nobody has published or measured one.

    Attributes:
        random_return: score 0, of uniformly random actions or the least possible.
        expert_return: score 100, of an expert or the most possible.
        source: where the two are from.
    """

    random_return: float | None
    expert_return: float | None
    source: str


D4RL = "D4RL"  # its published table, made with an earlier version of the same bodies
# Random: benchmarks/random_returns, 100 episodes, reset seeds 3,000,000 to 3,000,099. Expert: mean actions of the
# policy behind the expert level, 20 held episodes; the level ships (see its metadata.json) or its command is in
# benchmarks/behaviour_data/README.md.
MEASURED = "measured"
# Agents that others trained and scored with earlier versions of the same bodies; random is measured.
ZOO = "measured; expert: RL Zoo's SAC, Humanoid-v3 (github.com/DLR-RM/rl-baselines3-zoo, benchmark.md)"
HUB = "measured; expert: PPO, HumanoidStandup-v2 (huggingface.co/qgallouedec/ppo-HumanoidStandup-v2-4091961953)"
# The rewards of every task but lqr lie in [0, 1], and an episode has 1000 steps.
SUITE = Reference(0.0, 1000.0, "dm_control's reward range")
NONE = Reference(None, None, "")

REFERENCES = {
    "HalfCheetah": Reference(-280.178953, 12135.0, D4RL),
    "Hopper": Reference(-20.272305, 3234.3, D4RL),
    "Walker2d": Reference(1.629008, 4592.3, D4RL),
    "Ant": Reference(-325.6, 3879.7, D4RL),
    "Swimmer": Reference(1.02, 297.55, MEASURED),
    "Humanoid": Reference(114.39, 6232.287, ZOO),
    "HumanoidStandup": Reference(33507.01, 164634.21, HUB),
    "Reacher": Reference(-42.41, -3.53, MEASURED),
    "Pusher": Reference(-150.18, None, MEASURED),
    "InvertedPendulum": Reference(4.85, 1000.0, MEASURED),
    "InvertedDoublePendulum": Reference(48.48, 9335.89, MEASURED),
    "dmc/lqr-lqr_2_1": NONE,
    "dmc/lqr-lqr_6_2": NONE,
}


def reference(name: str) -> Reference:
    """The reference of an environment by its name in the registry."""
    return REFERENCES.get(name, SUITE if name.startswith("dmc/") else NONE)
