"""A bank of one set of images on another, with a new head: digits to CIFAR-10 and back, against scratch.

    OMP_NUM_THREADS=1 python benchmarks/transfer.py run   --out benchmarks/results/transfer [--part 0/2] [--one-seed]
    python benchmarks/transfer.py table --out benchmarks/results/transfer

Digits are drawn as CIFAR's images are, 32 x 32 in three channels. CIFAR-10 is the part of it that lies beside the
project, ``--cifar`` names another folder or archive. What is finished is kept.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

from many_bodies import FROZEN
from rows import Row, append, finished

from weit_rl.comparison.runs import finish, finish_training
from weit_rl.comparison.statistics import mean
from weit_rl.comparison.tables import Table

SETS = ("digits", "cifar")
CIFAR = Path("../shared/data/images/cifar10-12k.zip")
COMMON = ["task=classification", "model=vit", "image_size=32", "channels=3", "patch_size=8", "precision=medium"]
SAMPLED = ["steps=3000", "score_sizes=[]"]
SIZES, STEPS = ("96x4", "160x5"), (100, 300, 1000)
OWN, OTHER, SCRATCH = "the bank of the set itself", "the bank of the other set", "scratch"
FIELDS = ("data", "start", "size", "steps", "seed", "accuracy", "validation_loss")
Cell = tuple[str, str, str, int, int]


def bank(out: Path, data: str, seed: int, places: dict[str, str]) -> Path:
    """The bank of a set, pre-trained now or before."""
    words = [*COMMON, *SAMPLED, f"data={places[data]}", f"seed={seed}", "threads=1"]
    return finish("pretrain", out / "banks" / f"{data}-{seed}", words)


def cells(seeds: list[int]) -> list[Cell]:
    """Every training of the table, the first seeds first."""
    grid = product(seeds, SIZES, STEPS, SETS, (OTHER, SCRATCH, OWN))
    return [(data, start, size, steps, seed) for seed, size, steps, data, start in grid]


def run_cell(cell: Cell, out: Path, places: dict[str, str]) -> Row:
    """Train it with the public command's own code."""
    data, start, size, steps, seed = cell
    words = [*COMMON, f"data={places[data]}", f"size={size}", f"seed={seed}", "threads=1", "validation=false"]
    if start == SCRATCH:
        words += ["init=scratch", "scaler_steps=0", f"train_steps={steps}"]
    else:
        from_set = data if start == OWN else SETS[1 - SETS.index(data)]
        words += [f"bank={bank(out, from_set, seed, places)}", f"scaler_steps={steps}", "train_steps=0"]
    report = finish_training(out / "runs" / "-".join(map(str, cell)).replace(" ", "-"), words)
    return dict(zip(FIELDS, (*cell, report["accuracy"], report["validation_loss"]), strict=True))


def line(rows: list[Row], data: str, start: str, size: str) -> list[str]:
    """Accuracy in percent by steps; the mean of the seeds there are."""
    shown = []
    for steps in map(str, STEPS):
        own = [r for r in rows if (r["data"], r["start"], r["size"], r["steps"]) == (data, start, size, steps)]
        shown.append(f"{mean([[float(row['accuracy']) for row in own]]).text()} ({len(own)})" if own else "")
    return [data, size, start, *shown]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, default=CIFAR)
    parser.add_argument("--one-seed", action="store_true")
    parser.add_argument("--part", default="0/1", type=lambda text: tuple(map(int, text.split("/"))))
    arguments = parser.parse_args()
    (number, parts), out = arguments.part, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.what == "run":
        places = {"digits": "digits", "cifar": str(arguments.cifar.resolve())}
        for cell in cells(FROZEN["seeds"][: 1 if arguments.one_seed else None])[number::parts]:
            done = {tuple(row[name] for name in FIELDS[:5]) for row in finished(out, "cells*.csv")}
            if tuple(map(str, cell)) not in done:
                append(out / f"cells-{number}.csv", FIELDS, run_cell(cell, out, places))
        return
    rows = finished(out, "cells*.csv")
    header = ["data", "size", "start", *(f"{steps} steps" for steps in STEPS)]
    lines = [line(rows, *key) for key in product(SETS, (SCRATCH, OTHER, OWN), SIZES)]
    note = "Accuracy on the test images in percent (number of seeds); the stage of a bank trains its scalers alone."
    text = Table("A bank of one set of images on another", header, lines, note).markdown()
    (out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
