"""Measure where the time of an evaluation goes, and whether a faster way earns the same returns.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluating.run > benchmarks/evaluating/README.md

The network is made from the shipped bank of HalfCheetah at size small. ``--band RUN`` adds a run that was trained with
``attention=band``. Processor seconds count, since other work stretches wall time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks._shared.result_page import heading
from benchmarks._shared.script import make_parser, run_script
from weit_rl.agents.evaluation import rollout
from weit_rl.agents.sequence_agent import SequenceAgent
from weit_rl.common.seeds import TEST_SEED
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.workflows.train_run import TrainRun

Spent = dict[str, float]


def clocked(name: str, call: Callable[..., Any], spent: Spent) -> Callable[..., Any]:
    """Wrap a call so that its processor seconds are added to ``spent[name]``."""

    def timed(*arguments: Any) -> Any:
        begin = time.process_time()
        result = call(*arguments)
        spent[name] += time.process_time() - begin
        return result

    return timed


def evaluate(net: Any, way: str, episodes: int, steps: int) -> tuple[np.ndarray, Spent]:
    """Play episodes; return their returns, and the processor seconds of policy, environments and all.

    Args:
        net: the policy.
        way: the network's method that acts.
        episodes: number of episodes, played side by side.
        steps: longest episode.
    """
    spent = dict.fromkeys(("policy", "environments", "all"), 0.0)
    setattr(net, way, clocked("policy", getattr(net, way), spent))
    envs = [env_entry("HalfCheetah").make(max_episode_steps=steps) for _ in range(episodes)]
    for env in envs:
        env.step = clocked("environments", env.step, spent)  # type: ignore[method-assign]
    play = clocked("all", rollout, spent)
    returns = play(net, envs, list(range(TEST_SEED, TEST_SEED + episodes)))
    delattr(net, way)
    for env in envs:
        env.close()
    return returns, spent


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--band", metavar="RUN", help="folder of a run with attention=band")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shown = f"python -m benchmarks.evaluating.run --episodes {arguments.episodes} --steps {arguments.steps}"
    print(heading("Evaluation", shown + (" --band RUN" if arguments.band else ""), 1))
    net: Any = TrainRun(compose("train", ["size=small", "scaler_steps=0", "train_steps=0", "threads=1"])).begun().eval()
    net.whole = lambda *window: net(*window)[:, -1]
    ways = [("whole windows, the last action taken (as before)", net, "whole"), ("the newest action alone", net, "act")]
    if arguments.band:
        ways.append(("attention=band, another network", SequenceAgent.load(arguments.band, "last").net, "step"))
    print("| way | processor s | policy | environments | times the first | return | same as the first's |")
    print("|---|---|---|---|---|---|---|")
    first: tuple[np.ndarray, Spent] | None = None
    for name, policy, way in ways:
        if way == "whole":
            policy.act = policy.whole
        returns, spent = evaluate(policy, "act" if way == "whole" else way, arguments.episodes, arguments.steps)
        first = first or (returns, spent)
        same = f"{(returns == first[0]).sum()} of {len(returns)}, bit by bit" if policy is net else "-"
        numbers = f"{spent['all']:.1f} | {spent['policy']:.1f} | {spent['environments']:.1f}"
        print(f"| {name} | {numbers} | {first[1]['all'] / spent['all']:.2f} | {returns.mean():,.1f} | {same} |")


if __name__ == "__main__":
    run_script(main)
