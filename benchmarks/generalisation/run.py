"""Compare the bound of docs/theory.md with measured gaps: scalers on fixed templates against the dense network.

    python -m weit_rl.pretrain data=medium score_sizes=[] run_dir=runs/medium
    python -m benchmarks.generalisation.run --bank runs/medium/bank.safetensors

The templates come from the medium level and stay fixed. Both networks are then fitted to the expert level for the same
steps: one by its scalers and free parameters, the other by all its weights.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks._shared.script import add_out, make_parser, run_script
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.counts import count_numbers, occam_bound
from weit_rl.core.eval_mode import eval_mode
from weit_rl.options.command import compose
from weit_rl.tasks.control import Control
from weit_rl.tasks.control_options import control_task
from weit_rl.training.checkpoint import load_network
from weit_rl.workflows.training import train

LARGEST = 4.0  # squared error of actions in [-1, 1]
BATCHES = 100


@torch.no_grad()
def error(task: Control, net: Any, windows: Any) -> float:
    """Return the mean squared error of actions on windows that one seed draws."""
    generator = torch.Generator().manual_seed(0)
    with eval_mode(net):
        draws = (task.loss(net, windows.sample(task.config.batch_size, generator)) for _ in range(BATCHES))
        return sum(map(float, draws)) / BATCHES


def fitted(words: list[str]) -> Any:
    """Train a network with these options and return it."""
    with tempfile.TemporaryDirectory() as folder:
        train(compose("train", [*words, "episodes=1", "validation_episodes=0", f"run_dir={folder}/run"]))
        return load_network(Path(folder) / "run" / "checkpoints" / "last.safetensors")[0]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--bank", type=Path, required=True)
    add_out(parser, Path(__file__).parent)
    parser.add_argument("--sizes", nargs="+", default=["64x5", "128x3"])
    parser.add_argument("--steps", type=int, default=3000)
    arguments = parser.parse_args()
    bank = TemplateBank.load(arguments.bank)
    task = control_task(compose("train"), bank.card["config"]["tile"])
    samples, lines = task.windows.steps, []
    for size in arguments.sizes:
        count = count_numbers(task.plan.layout(task.build(Size.parse(size))), bank.card["config"]["rank"])
        ways = {
            "scalers and free": (count["scalers"] + count["free"],
                                 [f"bank={arguments.bank}", f"scaler_steps={arguments.steps}", "train_steps=0"]),
            "dense": (count["dense"], ["init=scratch", f"train_steps={arguments.steps}"]),
        }  # fmt: skip
        for name, (fitted_numbers, words) in ways.items():
            net = fitted([f"size={size}", *words])
            seen, unseen = error(task, net, task.windows), error(task, net, task.held_windows)
            bound = occam_bound(fitted_numbers, samples, largest=LARGEST)
            cells = [size, name, f"{fitted_numbers:,}", f"{seen:.4f}", f"{unseen:.4f}", f"{unseen - seen:.4f}"]
            lines.append("| " + " | ".join([*cells, f"{bound:.1f}"]) + " |")
    head = ["size", "fitted", "numbers", "error, training", "error, held out", "gap", "bound on the gap"]
    table = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines]
    note = (
        f"{arguments.steps} steps of 32 windows, {samples:,} training steps counted as independent samples, one seed."
    )
    command = "    python -m benchmarks.generalisation.run --bank runs/medium/bank.safetensors"
    page = ["# Bounds and gaps", "", command, "", *table, "", note, ""]
    (arguments.out / "README.md").write_text("\n".join(page))
    print("\n".join(table))


if __name__ == "__main__":
    run_script(main)
