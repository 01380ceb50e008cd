"""Actions a second of decision transformers, against Hugging Face's with the same weights (pip install -e ".[bench]").

OMP_NUM_THREADS=1 python benchmarks/acting.py > benchmarks/results/acting.md

128 x 3, windows of 20 steps of HalfCheetah's shape, the original stream (return, state, action), positions of the
episode. What is timed is one action of every episode, from arrays that are ready: windows, or what a band keeps.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from hugging_face import act, ours, theirs, windows
from turns import heading, interleaved, ratio

from weit_rl import Size

SIZE, CONTEXT, OBSERVATION, ACTION = Size(128, 3), 20, 17, 6
BAND = 4
PEER, WHOLE, EXACT, BANDED = (
    "Hugging Face",
    "whole window (as before)",
    "exact (`act`)",
    f"band of {BAND} steps (`step`)",
)


def jobs(batch: int, repeats: int) -> dict[str, Callable[[], object]]:
    """One action of ``batch`` episodes, ``repeats`` times; all networks have the same weights."""
    model = theirs(SIZE, OBSERVATION, ACTION)
    net, banded = ours(model, CONTEXT), ours(model, CONTEXT, attention="band", band=BAND)
    given = windows(batch, CONTEXT, OBSERVATION, ACTION)
    seen, action, returns, times = (part[:, -1].contiguous() for part in given)
    past = banded.nothing(batch)
    for _ in range(2 * BAND):  # filled, as in the middle of an episode
        _, past = banded.step(seen, action, returns, times, past)
    calls: dict[str, Callable[[], object]] = {
        PEER: lambda: act(model, *given),
        WHOLE: lambda: net(*given)[:, -1],
        EXACT: lambda: net.act(*given),
        BANDED: lambda: banded.step(seen, action, returns, times, past),
    }
    return {name: lambda call=call: [call() for _ in range(repeats)] for name, call in calls.items()}  # type: ignore[misc]


def difference() -> float:
    """The largest between their actions and ours, over 100 windows."""
    torch.manual_seed(0)
    model = theirs(SIZE, OBSERVATION, ACTION)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    given = windows(100, CONTEXT, OBSERVATION, ACTION)
    return float((act(model, *given) - ours(model, CONTEXT).act(*given)).abs().max())


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    command = f"python benchmarks/acting.py --rounds {arguments.rounds} --threads {arguments.threads}"
    print(heading("Acting", command, arguments.threads))
    print(f"Largest difference of an action to Hugging Face's, same weights: {difference():.1e}.\n")
    clock = "processor" if arguments.threads == 1 else "wall"
    print(f"| episodes at once | network | {clock} ms, median | actions a second | times Hugging Face's |")
    print("|---|---|---|---|---|")
    for batch, repeats in ((1, 10), (16, 2), (100, 1)):
        times = interleaved(jobs(batch, repeats), arguments.rounds, clock=clock)
        for name, seconds in times.items():
            each = statistics.median(seconds) / repeats
            print(f"| {batch} | {name} | {1000 * each:.2f} | {batch / each:,.0f} | {ratio(times[PEER], seconds):.2f} |")


if __name__ == "__main__":
    main()
