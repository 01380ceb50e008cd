"""What the constraint costs at the full size: the bank's own network (128 x 6) against a direct one at equal FLOPs.

    python benchmarks/full_size.py --out benchmarks/results/full_size [--bank PATH]

The bank's pre-training also trains sub-networks; the direct network gets all of those FLOPs as steps of its own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from torch.utils.flop_counter import FlopCounterMode

from weit_rl.bank import TemplateBank
from weit_rl.command import compose
from weit_rl.masks import Masks
from weit_rl.sizes import Size
from weit_rl.tasks.control import Control
from weit_rl.training.pretraining import MaskedLoss
from weit_rl.weit import WeiT
from weit_rl.workflows.setup import BANKS, control_task
from weit_rl.workflows.train import train

STEPS = 50  # pre-training steps averaged: their FLOPs depend on the sizes drawn


def flops(step) -> int:  # type: ignore[no-untyped-def]
    """Floating point operations of one forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step().backward()
    return counter.get_total_flops()


def step_ratio(task: Control, config: dict) -> float:
    """FLOPs of an average pre-training step over those of a direct step of the full network."""
    full = Size.parse(config["size"])
    plain = task.build(full)
    net = WeiT(plain, TemplateBank.from_plan(task.plan, config["rank"]), task.plan)
    direct = flops(lambda: task.loss(plain, task.batch(0)))
    steps = MaskedLoss(net, task, Masks(config["widths"], config["depths"], full, 0, config["masks"]))
    return sum(flops(lambda step=step: steps(step)) for step in range(STEPS)) / STEPS / direct


def report(folder: Path, words: list[str]) -> dict:
    """What a run says of itself; it is made, or finished, only if it is not there yet."""
    done = folder / "evaluation.json"
    if not done.exists():
        train(compose("train", [f"resume={folder}"] if folder.exists() else [f"run_dir={folder}", *words]))
    return json.loads(done.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bank", type=Path, default=BANKS / "HalfCheetah.safetensors")
    arguments = parser.parse_args()
    config = TemplateBank.load(arguments.bank).card["config"]
    ratio = step_ratio(control_task(compose("pretrain"), config["tile"]), config)
    steps = round(config["steps"] * ratio)
    jobs = {
        "constrained (the bank, 0 further steps)": [f"bank={arguments.bank}", "scaler_steps=0", "train_steps=0"],
        f"direct, {steps} steps": ["init=scratch", f"train_steps={steps}"],
    }
    common = [f"size={config['size']}", f"data={config['data']}", "validation_episodes=0"]
    rows = {name: report(arguments.out / "runs" / name.split()[0], [*common, *words]) for name, words in jobs.items()}
    lines = [f"| {config['size']} | return | +- | seconds |", "|---|---|---|---|"]
    lines += [f"| {n} | {r['return_mean']:.0f} | {r['return_std']:.0f} | {r['seconds']:.0f} |" for n, r in rows.items()]
    means = [r["return_mean"] for r in rows.values()]
    note = f"One pre-training step costs {ratio:.2f} direct steps. Constrained over direct: {means[0] / means[1]:.3f}."
    text = "\n".join(["# The full size at equal FLOPs", "", *lines, "", note, ""])
    (arguments.out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
