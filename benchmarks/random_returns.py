"""Returns of uniformly random actions: the zero of a score, where nobody has published one.

python benchmarks/random_returns.py > benchmarks/random_returns.md
"""

import numpy as np

from weit_rl.agents.recording import play, random_actor
from weit_rl.envs.registry import env_entry

NAMES = ("Swimmer", "Humanoid", "HumanoidStandup", "Reacher", "Pusher", "InvertedPendulum", "InvertedDoublePendulum")
SEEDS = range(3_000_000, 3_000_100)


def row(name: str) -> str:
    """A line of the table."""
    entry = env_entry(name)
    bound = np.ones(entry.sizes[1], np.float32)
    episodes = play(random_actor(-bound, bound), entry, SEEDS)
    returns = np.array([episode.rewards.sum(dtype=np.float64) for episode in episodes])
    error = returns.std(ddof=1) / len(returns) ** 0.5
    steps = np.mean([len(episode.rewards) for episode in episodes])
    return f"| {name} | {entry.gym_id} | {returns.mean():.2f} | {error:.2f} | {steps:.1f} |"


print(f"Returns of uniformly random actions, mean of {len(SEEDS)} episodes, reset seeds {SEEDS[0]} to {SEEDS[-1]}")
print("(`python benchmarks/random_returns.py > benchmarks/random_returns.md`).\n")
print("| environment | Gymnasium id | mean return | standard error | mean steps |\n|---|---|---|---|---|")
for _name in NAMES:
    print(row(_name), flush=True)
