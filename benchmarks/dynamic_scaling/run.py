"""Compare a network that grows during training with one of fixed size: FLOPs to a return.

    OMP_NUM_THREADS=2 python -m benchmarks.dynamic_scaling.run

All train from scratch for the same steps, end at 128 x 6, and are evaluated on the same validation episodes.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks._shared.result_page import with_command
from benchmarks._shared.script import add_out, make_parser, run_script
from weit_rl.common.sizes import Size
from weit_rl.comparison.runs import finish_training
from weit_rl.comparison.tables import Table
from weit_rl.core.growing import segments
from weit_rl.options.command import compose
from weit_rl.tasks.control_options import control_task
from weit_rl.training.flops import step_flops
from weit_rl.training.run_folder import RunFolder

STEPS, EVERY, EPISODES = 3000, 250, 10
SCHEDULES = {
    "fixed": "[[0, 128x6]]",
    "grown": "[[0, 64x2], [1000, 128x3], [2000, 128x6]]",
    "grown in depth": "[[0, 128x2], [1000, 128x6]]",
}
GOALS = (5000, 8000, 9500, 10000)


def cost_of(size: Size) -> float:
    """Return the FLOPs of a training step."""
    task = control_task(compose("train"), 16)
    net = task.build(size)
    return step_flops(net, lambda step: task.loss(net, task.batch(step)))


def curve(folder: Path, schedule: str) -> list[tuple[float, float]]:
    """Train by a schedule; return the FLOPs so far and the return at every validation."""
    words = ["init=scratch", f"grow={schedule}", f"train_steps={STEPS}", f"evaluate_every={EVERY}"]
    finish_training(folder, compose("train", [*words, f"validation_episodes={EPISODES}", "episodes=20"]))
    run = RunFolder.open(folder)
    parts = [(s, cost_of(s.size)) for s in segments(list(run.config.grow), STEPS)]
    found = []
    for step, value in run.metrics()["validation/return"]:
        flops = sum(cost * max(0, min(step, s.last) - s.first) for s, cost in parts)
        found.append((flops, value))
    return found


def main() -> None:
    parser = make_parser(__doc__)
    add_out(parser, Path(__file__).parent)
    arguments = parser.parse_args()
    lines = []
    for name, schedule in SCHEDULES.items():
        points = curve(arguments.out / "runs" / name.replace(" ", "_"), schedule)
        reached = [next((f"{flops:.3g}" for flops, value in points if value >= goal), "not") for goal in GOALS]
        lines.append([name, schedule, f"{points[-1][0]:.3g}", f"{points[-1][1]:,.0f}", *reached])
    header = ["", "schedule", "FLOPs in all", "return at the end", *(f"FLOPs to {goal:,}" for goal in GOALS)]
    note = (
        f"{STEPS} steps of 32 windows from scratch, HalfCheetah expert, one seed; {EPISODES} validation episodes every "
    )
    text = Table("Growing while training", header, lines, note + f"{EVERY} steps.").markdown()
    text = with_command(text, "OMP_NUM_THREADS=2 python -m benchmarks.dynamic_scaling.run")
    (arguments.out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    run_script(main)
