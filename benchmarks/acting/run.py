"""Measure actions a second of decision transformers against Hugging Face's with the same weights.

    OMP_NUM_THREADS=1 python -m benchmarks.acting.run > benchmarks/acting/README.md
    python -m benchmarks.acting.run --threads 2 > benchmarks/acting/two_threads.md

Needs ``pip install -e ".[bench]"``. Networks of 128 x 3 see windows of 20 steps of HalfCheetah's shape, in the original
stream (return, state, action) with positions of the episode. One job is one action of every episode, from arrays that
are ready.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

from benchmarks._shared.hugging_face import act, ours, theirs, windows
from benchmarks._shared.result_page import heading
from benchmarks._shared.script import make_parser, run_script
from benchmarks._shared.timing import interleaved, ratio
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
    """Return the jobs by name: one action of ``batch`` episodes, ``repeats`` times, by networks of equal weights."""
    model = theirs(SIZE, OBSERVATION, ACTION)
    net, banded = ours(model, CONTEXT), ours(model, CONTEXT, attention="band", band=BAND)
    given = windows(batch, CONTEXT, OBSERVATION, ACTION)
    seen, action, returns, times = (part[:, -1].contiguous() for part in given)
    past = banded.empty_past(batch)
    for _ in range(2 * BAND):  # fill the memory, as in the middle of an episode
        _, past = banded.step(seen, action, returns, times, past)
    calls: dict[str, Callable[[], object]] = {
        PEER: lambda: act(model, *given),
        WHOLE: lambda: net(*given)[:, -1],
        EXACT: lambda: net.act(*given),
        BANDED: lambda: banded.step(seen, action, returns, times, past),
    }
    return {name: lambda call=call: [call() for _ in range(repeats)] for name, call in calls.items()}  # type: ignore[misc]


def difference() -> float:
    """Return the largest difference between their actions and ours over 100 windows."""
    torch.manual_seed(0)
    model = theirs(SIZE, OBSERVATION, ACTION)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    given = windows(100, CONTEXT, OBSERVATION, ACTION)
    return float((act(model, *given) - ours(model, CONTEXT).act(*given)).abs().max())


@torch.inference_mode()
def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    command = f"python -m benchmarks.acting.run --rounds {arguments.rounds} --threads {arguments.threads}"
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
    run_script(main)
