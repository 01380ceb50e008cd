"""Start from a bank of another image data set with a new head: digits to CIFAR-10 and back, against scratch.

    export OMP_NUM_THREADS=1
    python -m benchmarks.transfer.run run [--part 0/2] [--one-seed]
    python -m benchmarks.transfer.run table

Digits are resized to the form of CIFAR's images, 32 x 32 pixels in three channels. ``--cifar`` names the folder or
archive of CIFAR-10. Finished banks and cells stay, so the same command resumes.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

from benchmarks._shared.frozen import FROZEN
from benchmarks._shared.result_page import with_command
from benchmarks._shared.rows import Row, append, finished
from benchmarks._shared.script import add_out, add_part, make_parser, run_script
from weit_rl.comparison.runs import finish_run, finish_training
from weit_rl.comparison.statistics import mean
from weit_rl.comparison.tables import Table
from weit_rl.options.command import compose

SETS = ("digits", "cifar")
CIFAR = Path("../shared/data/images/cifar10-12k.zip")
COMMON = ["task=classification", "model=vit", "image_size=32", "channels=3", "patch_size=8", "precision=medium"]
SAMPLED = ["steps=3000", "score_sizes=[]"]
SIZES, STEPS = ("96x4", "160x5"), (100, 300, 1000)
OWN, OTHER, SCRATCH = "the bank of the set itself", "the bank of the other set", "scratch"
CELL = ("data", "start", "size", "steps", "seed")
FIELDS = (*CELL, "accuracy", "validation_loss")
Cell = tuple[str, str, str, int, int]


def bank(out: Path, data: str, seed: int, places: dict[str, str]) -> Path:
    """Pre-train the bank of a data set, once, and return its file."""
    words = [*COMMON, *SAMPLED, f"data={places[data]}", f"seed={seed}", "threads=1"]
    return finish_run("pretrain", out / "banks" / f"{data}-{seed}", compose("pretrain", words))


def cells(seeds: list[int]) -> list[Cell]:
    """List all cells, the first seed's first."""
    grid = product(seeds, SIZES, STEPS, SETS, (OTHER, SCRATCH, OWN))
    return [(data, start, size, steps, seed) for seed, size, steps, data, start in grid]


def run_cell(cell: Cell, out: Path, places: dict[str, str]) -> Row:
    """Train one cell by the code of the public command; return its row."""
    data, start, size, steps, seed = cell
    words = [*COMMON, f"data={places[data]}", f"size={size}", f"seed={seed}", "threads=1", "validation=false"]
    if start == SCRATCH:
        words += ["init=scratch", "scaler_steps=0", f"train_steps={steps}"]
    else:
        from_set = data if start == OWN else SETS[1 - SETS.index(data)]
        words += [f"bank={bank(out, from_set, seed, places)}", f"scaler_steps={steps}", "train_steps=0"]
    report = finish_training(out / "runs" / "-".join(map(str, cell)).replace(" ", "-"), compose("train", words))
    return dict(zip(FIELDS, (*cell, report["accuracy"], report["validation_loss"]), strict=True))


def line(rows: list[Row], data: str, start: str, size: str) -> list[str]:
    """Format a row: accuracy in percent by steps, the mean of the finished seeds."""
    shown = []
    for steps in map(str, STEPS):
        own = [r for r in rows if (r["data"], r["start"], r["size"], r["steps"]) == (data, start, size, steps)]
        shown.append(f"{mean([[float(row['accuracy']) for row in own]]).text()} ({len(own)})" if own else "")
    return [data, size, start, *shown]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["run", "table"])
    add_out(parser, Path(__file__).parent)
    parser.add_argument("--cifar", type=Path, default=CIFAR)
    parser.add_argument("--one-seed", action="store_true")
    add_part(parser)
    arguments = parser.parse_args()
    (number, parts), out = arguments.part, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.what == "run":
        places = {"digits": "digits", "cifar": str(arguments.cifar.resolve())}
        for cell in cells(FROZEN["seeds"][: 1 if arguments.one_seed else None])[number::parts]:
            done = {tuple(row[name] for name in CELL) for row in finished(out, "cells*.csv", CELL)}
            if tuple(map(str, cell)) not in done:
                append(out / f"cells-{number}.csv", FIELDS, run_cell(cell, out, places))
        return
    rows = finished(out, "cells*.csv", CELL)
    header = ["data", "size", "start", *(f"{steps} steps" for steps in STEPS)]
    lines = [line(rows, *key) for key in product(SETS, (SCRATCH, OTHER, OWN), SIZES)]
    note = "Accuracy on the test images in percent (number of seeds); the stage of a bank trains its scalers alone."
    text = Table("A bank of one set of images on another", header, lines, note).markdown()
    text = with_command(text, "python -m benchmarks.transfer.run run|table --one-seed")
    (out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    run_script(main)
