"""The reported sizes: WeiT against the same network from scratch, in the same loop.

    python benchmarks/sizes.py banks --data expert --out benchmarks/results/expert [--part 0/2]
    python benchmarks/sizes.py run   --data expert --out benchmarks/results/expert [--part 0/2]
    python benchmarks/sizes.py table --out benchmarks/results/expert

With ``--model mlp`` or ``tcn`` the same of another policy, two of the sizes, from banks of 5000 steps. A cell is one
training (one of WeiT is left out until its bank is there); finished cells are kept in results.csv, so a killed run goes
on where it was, and ``--part 0/2`` and ``--part 1/2`` share the cells between two processes (OMP_NUM_THREADS=1 each).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rows import append, finished

from weit_rl.options.command import compose

FROZEN = yaml.safe_load((Path(__file__).parent / "frozen.yaml").read_text())
FIELDS = ["method", "size", "seed", "scaler_steps", "train_steps", "return_mean", "return_std", "score", "seconds"]
ROWS = "results*.csv"


@dataclass(frozen=True)
class Cell:
    """One training: a method, a size, a seed and its budgets."""

    method: str
    size: str
    seed: int
    scaler_steps: int
    train_steps: int

    def key(self) -> tuple[str, ...]:
        return tuple(str(v) for v in (self.method, self.size, self.seed, self.scaler_steps, self.train_steps))


SHORT = {"sizes": ["96x4", "160x5"], "bank": ["steps=5000", "score_sizes=[]"]}  # other models


def cells(sizes: list[str], one_seed: bool, long: bool = True) -> list[Cell]:
    """All cells, the cheap and telling ones first; ``long`` ones train until convergence as well."""
    found: list[Cell] = []
    for seed in FROZEN["seeds"][: 1 if one_seed else None]:
        found += [Cell("weit", size, seed, *budget) for size in sizes for budget in FROZEN["weit"]]
        found += [Cell("scratch", size, seed, 0, steps) for steps in FROZEN["scratch"] for size in sizes]
    if not long:
        return found
    first, steps = FROZEN["seeds"][0], FROZEN["scratch_long"]
    found += [Cell("weit", size, first, 300, steps) for size in sizes if size == FROZEN["convergence"]]
    return found + [Cell("scratch", size, first, 0, steps) for size in sizes]


def bank_of(out: Path, seed: int) -> Path:
    """Where the bank of a pre-training seed lies."""
    return out / "banks" / f"seed{seed}" / "bank.safetensors"


def make_banks(out: Path, data: str, one_seed: bool, part: tuple[int, int], options: Sequence[str] = ()) -> None:
    """Pre-train this part's banks with the default configuration and these options, or go on with them."""
    from weit_rl.workflows.pretrain_run import pretrain

    for seed in FROZEN["seeds"][: 1 if one_seed else None][part[0] :: part[1]]:
        path = bank_of(out, seed)
        if (path.parent / "config.yaml").exists() and not path.exists():
            pretrain(compose("pretrain", [f"resume={path.parent}"]))
        elif not path.exists():
            pretrain(compose("pretrain", [f"data={data}", f"seed={seed}", f"run_dir={path.parent}", *options]))


def run_cell(
    cell: Cell, out: Path, data: str, options: Sequence[str] = (), fields: Sequence[str] = FIELDS
) -> dict[str, Any]:
    """Train one cell with the public command's own code and score it on test episodes."""
    from weit_rl.workflows.training import train

    folder = out / "runs" / "-".join(cell.key())
    shutil.rmtree(folder, ignore_errors=True)
    words = [f"data={data}", f"size={cell.size}", f"init={cell.method}", f"seed={cell.seed}", f"run_dir={folder}"]
    words += [f"scaler_steps={cell.scaler_steps}", f"train_steps={cell.train_steps}"]
    words += [f"episodes={FROZEN['episodes']}", f"batch_size={FROZEN['batch_size']}", "validation_episodes=0"]
    if cell.method == "weit":
        words.append(f"bank={bank_of(out, cell.seed)}")
    report = train(compose("train", [*words, *options]))
    shutil.rmtree(folder)
    return {**dict(zip(FIELDS, cell.key(), strict=False)), **{k: report[k] for k in fields[5:]}}


def run(
    out: Path,
    data: str,
    wanted: list[Cell],
    part: tuple[int, int],
    options: Sequence[str] = (),
    fields: Sequence[str] = FIELDS,
) -> None:
    """Every cell of this part that has no row yet."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / ("results.csv" if part[1] == 1 else f"results-{part[0]}.csv")
    for number, cell in enumerate(wanted):
        done = {tuple(row[field] for field in FIELDS[:5]) for row in finished(out, ROWS)}
        ready = cell.method != "weit" or bank_of(out, cell.seed).exists()
        if number % part[1] != part[0] or cell.key() in done or not ready:
            continue
        append(path, fields, run_cell(cell, out, data, options, fields))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["banks", "run", "table"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", default="expert")
    parser.add_argument("--model", default="dt")
    parser.add_argument("--sizes", nargs="+")
    parser.add_argument("--one-seed", action="store_true")
    parser.add_argument("--part", default="0/1", type=lambda text: tuple(map(int, text.split("/"))))
    arguments = parser.parse_args()
    long, model = arguments.model == "dt", [f"model={arguments.model}"]
    sizes = arguments.sizes or (FROZEN["reported"] if long else SHORT["sizes"])
    if arguments.what == "banks":
        options = model if long else [*model, *SHORT["bank"]]
        make_banks(arguments.out, arguments.data, arguments.one_seed, arguments.part, options)
    elif arguments.what == "run":
        run(arguments.out, arguments.data, cells(sizes, arguments.one_seed, long), arguments.part, model)
    else:
        from sizes_table import write_table

        write_table(finished(arguments.out, ROWS), arguments.out)


if __name__ == "__main__":
    main()
