"""Measure tokens a second in training against Hugging Face's model and a script in the manner of CORL.

    OMP_NUM_THREADS=1 python -m benchmarks.training_speed.run > benchmarks/training_speed/README.md

Needs ``pip install -e ".[bench]"``. 128 x 3, batch 64, windows of 20 steps of HalfCheetah's shape, AdamW, gradients
clipped at 0.25, no dropout. A step draws the batch and runs forward, backward and update. The peers draw windows one by
one, as CORL and the example of Hugging Face do. The original stream has 60 tokens a window, the default one 20.
Processor seconds count.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks._shared.corl import OneByOne, PlainTransformer
from benchmarks._shared.hugging_face import STREAM, theirs
from benchmarks._shared.result_page import heading
from benchmarks._shared.script import make_parser, run_script
from benchmarks._shared.timing import interleaved, ratio
from benchmarks._shared.training_steps import recorded
from weit_rl import Size
from weit_rl.data import Trajectories
from weit_rl.envs.registry import env_entry
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.training.device import set_up_torch

SIZE, CONTEXT, BATCH = Size(128, 3), 20, 64
Step = Callable[[], None]


def optimised(net: nn.Module, loss: Callable[[], Tensor], **options: Any) -> Step:
    """Return a step of training: forward, backward, clipping, update."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=1e-4, **options)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        nn.utils.clip_grad_norm_(parameters, 0.25)
        optimizer.step()

    return step


def hugging_face(data: Trajectories) -> Step:
    """Return a step of their model with the loss of their example."""
    net, draw = theirs(SIZE, data.observation_dim, 6), OneByOne(data, BATCH, CONTEXT)  # type: ignore[arg-type]

    def loss() -> Tensor:
        states, actions, returns, times, real = draw()
        given = {"states": states, "actions": actions, "rewards": None, "returns_to_go": returns.unsqueeze(-1)}
        predicted = net(**given, timesteps=times, attention_mask=real.long(), return_dict=False)[1]
        return F.mse_loss(predicted[real], actions[real])

    return optimised(net.train(), loss)


def plain(data: Trajectories) -> Step:
    """Return a step of a script in the manner of CORL."""
    net, draw = PlainTransformer(SIZE, data.observation_dim, 6, CONTEXT), OneByOne(data, BATCH, CONTEXT)  # type: ignore[arg-type]

    def loss() -> Tensor:
        states, actions, returns, times, real = draw()
        predicted = net(states, actions, returns, times, ~real)
        return (F.mse_loss(predicted, actions, reduction="none") * real.unsqueeze(-1)).mean()

    return optimised(net, loss)


def ours(data: Trajectories, compiled: bool = False, **options: Any) -> tuple[Step, Step]:
    """Return a step of our training, and drawing its batch alone."""
    task = Control(env_entry("HalfCheetah"), data, ControlConfig(batch_size=BATCH, model_options=options))
    net = task.build(SIZE)
    called = torch.compile(net) if compiled else net
    return optimised(net, lambda: task.loss(called, task.batch(0)), fused=True), lambda: task.batch(1) and None


def products(data: Trajectories) -> Step:
    """Return the products of weights and tokens in a step's blocks, forward and for both gradients: the least work."""
    blocks = Control(env_entry("HalfCheetah"), data, ControlConfig(model_options=STREAM)).build(SIZE).blocks
    layers = [m.weight.detach() for m in blocks.modules() if isinstance(m, nn.Linear)]  # type: ignore[union-attr]
    tokens = [[torch.randn(3 * BATCH * CONTEXT, n) for n in weight.shape] for weight in layers]

    def step() -> None:
        for weight, (after, before) in zip(layers, tokens, strict=True):
            F.linear(before, weight), after @ weight, after.T @ before

    return step


def at(precision: str, step: Step) -> Step:
    """Return a step whose products have another precision (option ``precision`` of weit_rl, a setting of torch)."""

    def done() -> None:
        set_up_torch(SimpleNamespace(threads=None, device="cpu", get=lambda name, usual: precision))
        step()
        set_up_torch(SimpleNamespace(threads=None, device="cpu", get=lambda name, usual: usual))

    return done


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which needs a C++ compiler")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = recorded()
    same, drawing = ours(data, **STREAM)
    jobs = {
        "Hugging Face": hugging_face(data),
        "a script in CORL's manner": plain(data),
        "weit_rl, the same stream": same,
        "of this, drawing the batch": drawing,
        "of this, products of weights and tokens": products(data),
        "weit_rl, attention=band": ours(data, **STREAM, attention="band")[0],
        "Hugging Face, bfloat16 products": at("medium", hugging_face(data)),
        "weit_rl, the same stream, precision=medium": at("medium", ours(data, **STREAM)[0]),
        "weit_rl, the default stream": ours(data)[0],
        "weit_rl, the default stream, precision=medium": at("medium", ours(data)[0]),
    }
    if arguments.compile:
        jobs["weit_rl, the same stream, compiled"] = ours(data, compiled=True, **STREAM)[0]
        jobs["weit_rl, the default stream, compiled"] = ours(data, compiled=True)[0]
    times = interleaved(jobs, arguments.rounds, clock="processor")
    shown = f"python -m benchmarks.training_speed.run --rounds {arguments.rounds}{' --compile' * arguments.compile}"
    print(heading("Speed of training", shown, 1))
    print("| step of | processor ms, median | tokens a second | times Hugging Face's | times CORL's |")
    print("|---|---|---|---|---|")
    for name, seconds in times.items():
        middle, (first, second) = statistics.median(seconds), list(times)[:2]
        speed = f"{BATCH * (20 if 'default' in name else 60) / middle:,.0f}"
        ratios = f"{ratio(times[first], seconds):.2f} | {ratio(times[second], seconds):.2f}"
        if "of this" in name:
            speed, ratios = "-", ratios if "products" in name else "- | -"
        print(f"| {name} | {1000 * middle:.1f} | {speed} | {ratios} |")


if __name__ == "__main__":
    run_script(main)
