"""Measure the return of uniformly random actions: score 0 of environments without a published one.

python -m benchmarks.random_returns.run > benchmarks/random_returns/README.md
"""

from __future__ import annotations

import numpy as np

from benchmarks._shared.script import make_parser, run_script
from weit_rl.agents.recording import play, random_actor
from weit_rl.envs.registry import env_entry

NAMES = ("Swimmer", "Humanoid", "HumanoidStandup", "Reacher", "Pusher", "InvertedPendulum", "InvertedDoublePendulum")
SEEDS = range(3_000_000, 3_000_100)


def row(name: str) -> str:
    """Play the episodes of an environment and format its row."""
    entry = env_entry(name)
    bound = np.ones(entry.sizes[1], np.float32)
    episodes = play(random_actor(-bound, bound), entry, SEEDS)
    returns = np.array([episode.rewards.sum(dtype=np.float64) for episode in episodes])
    error = returns.std(ddof=1) / len(returns) ** 0.5
    steps = np.mean([len(episode.rewards) for episode in episodes])
    return f"| {name} | {entry.gym_id} | {returns.mean():.2f} | {error:.2f} | {steps:.1f} |"


def main() -> None:
    make_parser(__doc__).parse_args()
    print("# Returns of random actions\n\n    python -m benchmarks.random_returns.run\n")
    print(f"Uniformly random actions, mean of {len(SEEDS)} episodes, reset seeds {SEEDS[0]} to {SEEDS[-1]}.\n")
    print("| environment | Gymnasium id | mean return | standard error | mean steps |\n|---|---|---|---|---|")
    for name in NAMES:
        print(row(name), flush=True)


if __name__ == "__main__":
    run_script(main)
