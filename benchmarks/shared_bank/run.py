"""Evaluate the shipped bank of four bodies on its bodies: sizes that it never sampled, without a gradient step.

    OMP_NUM_THREADS=1 python -m benchmarks.shared_bank.run
    OMP_NUM_THREADS=1 python -m benchmarks.shared_bank.run --model mlp

The last row is HalfCheetah's own bank. Finished cells stay, so the same command resumes. The table is written at the
end.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

from benchmarks._shared.frozen import FROZEN
from benchmarks._shared.result_page import with_command
from benchmarks._shared.rows import Row, append, finished
from benchmarks._shared.script import add_out, make_parser, run_script
from weit_rl.comparison.runs import finish_training
from weit_rl.comparison.tables import Table
from weit_rl.data import load_trajectories
from weit_rl.envs.registry import env_entry
from weit_rl.models.shipped_banks import own_bank, shipped_bank
from weit_rl.options.command import compose

SHARED = "of four bodies"
STARTS = [*((body, SHARED) for body in ("HalfCheetah", "Hopper", "Walker2d", "Swimmer")), ("HalfCheetah", "its own")]
FILES = {SHARED: shipped_bank, "its own": own_bank}
CELL = ("body", "bank", "size")
FIELDS = (*CELL, "return_mean", "return_std", "validation_loss")


def run_cell(cell: tuple[str, str, str], out: Path, model: str) -> Row:
    """Make a network of a size by the code of the public command, and evaluate it; return its row."""
    body, name, size = cell
    words = [
        f"env={body}",
        "data=expert",
        f"size={size}",
        f"model={model}",
        f"bank={FILES[name](body, model)}",
        "scaler_steps=0",
        "train_steps=0",
    ]
    words += [f"episodes={FROZEN['episodes']}", "validation_episodes=0", "threads=1", "precision=medium"]
    report = finish_training(out / "runs" / "-".join(cell).replace(" ", "-"), compose("train", words))
    return dict(zip(FIELDS, (*cell, *(report[name] for name in FIELDS[3:])), strict=True))


def line(rows: list[Row], body: str, name: str) -> list[str]:
    """Format a row: returns and losses on held-out episodes by size."""
    own = {row["size"]: row for row in rows if (row["body"], row["bank"]) == (body, name)}
    shown = [f"{float(own[s]['return_mean']):,.0f} +- {float(own[s]['return_std']):,.0f}" for s in FROZEN["reported"]]
    losses = ", ".join(f"{float(own[size]['validation_loss']):.4f}" for size in FROZEN["reported"])
    return [body, name, f"{load_trajectories('expert', env_entry(body)).returns().mean():,.0f}", *shown, losses]


def main() -> None:
    parser = make_parser(__doc__)
    add_out(parser)
    parser.add_argument("--model", default="dt")
    arguments = parser.parse_args()
    out = arguments.out or Path(__file__).parent / ("" if arguments.model == "dt" else arguments.model)
    out.mkdir(parents=True, exist_ok=True)
    for (body, name), size in product(STARTS, FROZEN["reported"]):
        done = {tuple(row[field] for field in CELL) for row in finished(out, "cells.csv", CELL)}
        if (body, name, size) not in done:
            append(out / "cells.csv", FIELDS, run_cell((body, name, size), out, arguments.model))
    rows = finished(out, "cells.csv", CELL)
    note = f"Mean and standard deviation of {FROZEN['episodes']} episodes; no gradient step, one bank each."
    header = ["body", "bank", "its data", *FROZEN["reported"], "loss on held-out episodes"]
    text = Table("One bank for its four bodies", header, [line(rows, *start) for start in STARTS], note).markdown()
    model = "" if arguments.model == "dt" else f" --model {arguments.model}"
    text = with_command(text, f"OMP_NUM_THREADS=1 python -m benchmarks.shared_bank.run{model}")
    (out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    run_script(main)
