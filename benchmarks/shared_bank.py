"""One bank of four bodies on its own bodies, at sizes that it never sampled, against their data.

    python benchmarks/shared_bank.py run   --out benchmarks/results/shared_bank [--part 0/2]
    python benchmarks/shared_bank.py table --out benchmarks/results/shared_bank

The bank is the one of ``many_bodies.py banks`` (``--bank`` names another one); beside it stands HalfCheetah's own bank
that ships. What is finished is kept; OMP_NUM_THREADS=1 and two parts use two cores.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import product
from pathlib import Path

from many_bodies import FROZEN, Cell
from rows import Row, append, finished

from weit_rl.comparison.runs import finish_training
from weit_rl.comparison.tables import Table
from weit_rl.data import load_trajectories
from weit_rl.envs.entry import env_entry
from weit_rl.shipped import shipped_bank

BODIES = ("HalfCheetah", "Hopper", "Walker2d", "Swimmer")
SIZES, STEPS = ("32x3", "96x4", "160x5"), (0, 300)
OWN, SHARED = "its own bank", "the bank of four bodies"
FIELDS = ("body", "bank", "size", "steps", "seed", "return_mean", "validation_loss")


def cells() -> list[Cell]:
    """Every training of the table, the first seeds first."""
    starts = [*((body, SHARED) for body in BODIES), (BODIES[0], OWN)]
    grid = product(FROZEN["seeds"], STEPS, SIZES, starts)
    return [(*start, size, steps, seed) for seed, steps, size, start in grid]


def run_cell(cell: Cell, out: Path, bank: Path) -> Row:
    """Train it with the public command's own code."""
    body, name, size, steps, seed = cell
    start = bank if name == SHARED else shipped_bank(body, "dt")
    words = [f"env={body}", "data=expert", f"size={size}", f"bank={start}", f"scaler_steps={steps}", "train_steps=0"]
    words += [
        f"seed={seed}",
        f"episodes={FROZEN['episodes']}",
        "validation_episodes=0",
        "threads=1",
        "precision=medium",
    ]
    folder = out / "runs" / "-".join(str(part) for part in cell).replace(" ", "-")
    report = finish_training(folder, words)
    return dict(zip(FIELDS, (*cell, report["return_mean"], report["validation_loss"]), strict=True))


def data_return(body: str) -> float:
    """The mean return of the expert episodes."""
    episodes = load_trajectories("expert", env_entry(body)).episodes
    return statistics.mean(float(episode.rewards.sum()) for episode in episodes)


def table(rows: list[Row]) -> Table:
    """Return by body, bank and size; the mean of the seeds there are."""
    lines = []
    for body, name in [(body, SHARED) for body in BODIES] + [(BODIES[0], OWN)]:
        shown = []
        for steps, size in product(map(str, STEPS), SIZES):
            wanted = (body, name, size, steps)
            own = [row for row in rows if tuple(row[field] for field in FIELDS[:4]) == wanted]
            returns = [float(row["return_mean"]) for row in own]
            shown.append(f"{statistics.mean(returns):,.0f} ({len(own)})" if own else "")
        lines.append([body, name, f"{data_return(body):,.0f}", *shown])
    note = f"Mean return over {FROZEN['episodes']} episodes (number of seeds) after so many scaler steps."
    header = ["body", "bank", "its data", *(f"{size}, {steps} steps" for steps, size in product(STEPS, SIZES))]
    return Table("One bank for its four bodies", header, lines, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bank", type=Path, default=Path("benchmarks/results/many_bodies/banks/many/bank.safetensors"))
    parser.add_argument("--part", default="0/1", type=lambda text: tuple(map(int, text.split("/"))))
    arguments = parser.parse_args()
    (number, parts), out = arguments.part, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.what == "run":
        for cell in cells()[number::parts]:
            done = {tuple(row[name] for name in FIELDS[:5]) for row in finished(out, "cells*.csv")}
            if tuple(map(str, cell)) not in done:
                append(out / f"cells-{number}.csv", FIELDS, run_cell(cell, out, arguments.bank))
        return
    text = table(finished(out, "cells*.csv")).markdown()
    (out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
