"""Reference returns of all environments in one table: the returns of score 0 and score 100, and their sources."""

from __future__ import annotations

from typing import NamedTuple


class ReferenceReturns(NamedTuple):
    """Reference returns of one environment; None if none was published or measured.

    Attributes:
        random_return: return of score 0, of uniformly random actions or the least possible.
        expert_return: return of score 100, of an expert or the most possible.
        source: of the two numbers.
    """

    random_return: float | None
    expert_return: float | None
    source: str


D4RL = "D4RL"  # its published table, made with an earlier version of the same bodies
# Random: benchmarks/random_returns, 100 episodes, reset seeds 3,000,000 to 3,000,099. Expert: mean actions of the
# policy behind the expert level, 20 held episodes; the level ships (see its metadata.json) or its command is in
# benchmarks/behaviour_data/README.md.
MEASURED = "measured"
# Expert: agents that others trained and evaluated with earlier versions of the same bodies. Random: measured.
ZOO = "measured; expert: RL Zoo's SAC, Humanoid-v3 (github.com/DLR-RM/rl-baselines3-zoo, benchmark.md)"
HUB = "measured; expert: PPO, HumanoidStandup-v2 (huggingface.co/qgallouedec/ppo-HumanoidStandup-v2-4091961953)"
# The rewards of every task but lqr lie in [0, 1], and an episode has 1000 steps.
SUITE = ReferenceReturns(0.0, 1000.0, "dm_control's reward range")
NONE = ReferenceReturns(None, None, "")

REFERENCES = {
    "HalfCheetah": ReferenceReturns(-280.178953, 12135.0, D4RL),
    "Hopper": ReferenceReturns(-20.272305, 3234.3, D4RL),
    "Walker2d": ReferenceReturns(1.629008, 4592.3, D4RL),
    "Ant": ReferenceReturns(-325.6, 3879.7, D4RL),
    "Swimmer": ReferenceReturns(1.02, 297.55, MEASURED),
    "Humanoid": ReferenceReturns(114.39, 6232.287, ZOO),
    "HumanoidStandup": ReferenceReturns(33507.01, 164634.21, HUB),
    "Reacher": ReferenceReturns(-42.41, -3.53, MEASURED),
    "Pusher": ReferenceReturns(-150.18, None, MEASURED),
    "InvertedPendulum": ReferenceReturns(4.85, 1000.0, MEASURED),
    "InvertedDoublePendulum": ReferenceReturns(48.48, 9335.89, MEASURED),
    "dmc/lqr-lqr_2_1": NONE,
    "dmc/lqr-lqr_6_2": NONE,
}


def reference(name: str) -> ReferenceReturns:
    """Return the reference returns of an environment by its name in the registry."""
    return REFERENCES.get(name, SUITE if name.startswith("dmc/") else NONE)
