"""Measure environment steps a second of Stable-Baselines3's training: ``"WeiTPolicy"`` against ``"MlpPolicy"``.

    OMP_NUM_THREADS=1 python -m benchmarks.sb3_speed.run > benchmarks/sb3_speed/README.md

HalfCheetah with the algorithms' own hyperparameters. Two layers of 256 have about as many weights as an actor of
64 x 2. PPO's own ``"MlpPolicy"``, two layers of 64, has a twelfth of them. Processor seconds count.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch

from benchmarks._shared.result_page import heading
from benchmarks._shared.script import make_parser, run_script
from benchmarks._shared.timing import interleaved, ratio
from weit_rl.agents.online import ALGORITHMS, environments
from weit_rl.envs.registry import env_entry

ENV, SIZE = "HalfCheetah", "64x2"
OURS = ("WeiTPolicy", {"size": SIZE, "bank": ENV})
LARGE = ("MlpPolicy", {"net_arch": {"pi": [256, 256], "vf": [64, 64]}})  # the critic keeps its default
RIVALS = {
    "ppo": {"MlpPolicy, 256 and 256": LARGE, "MlpPolicy as it is": ("MlpPolicy", {})},
    "sac": {"MlpPolicy as it is (256 and 256)": ("MlpPolicy", {})},
}
STEPS = {"ppo": 2048, "sac": 300}  # of a round: one rollout and its updates, or 300 updates


def agent_of(algorithm: str, policy: str, options: dict[str, Any]) -> Any:
    """Build an untrained agent whose policy has these options."""
    made = environments(env_entry(ENV), 1)
    return ALGORITHMS[algorithm](policy, made, policy_kwargs=options, device="cpu", seed=0)


def learning(agent: Any, steps: int) -> Callable[[], object]:
    """Return a job: a number of environment steps of an agent's training."""
    return lambda: agent.learn(steps, reset_num_timesteps=False, log_interval=1000)


def weights(agent: Any) -> int:
    """Count the weights of an agent's actor."""
    if hasattr(agent.policy, "actor"):
        return sum(p.numel() for p in agent.actor.parameters())
    parts = (agent.policy.pi_features_extractor, agent.policy.mlp_extractor.policy_net, agent.policy.action_net)
    return sum(p.numel() for part in parts for p in part.parameters())


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(heading("Training with Stable-Baselines3", f"python -m benchmarks.sb3_speed.run --rounds {rounds}", 1))
    print("| algorithm | policy | weights of the actor | steps a processor second, median | WeiTPolicy's, times this |")
    print("|---|---|---|---|---|")
    for algorithm, rivals in RIVALS.items():
        agents = {name: agent_of(algorithm, *how) for name, how in {f"WeiTPolicy, {SIZE}": OURS, **rivals}.items()}
        steps = STEPS[algorithm]
        jobs = {name: learning(agent, steps) for name, agent in agents.items()}
        times = interleaved(jobs, rounds, warm=1, clock="processor")
        ours = next(iter(times.values()))
        for name, seconds in times.items():
            speed = f"{steps / statistics.median(seconds):,.0f} | {ratio(seconds, ours):.2f}"
            print(f"| {algorithm.upper()} | {name} | {weights(agents[name]):,} | {speed} |")


if __name__ == "__main__":
    run_script(main)
