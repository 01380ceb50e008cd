"""Cells of the benchmarks of sizes: WeiT and the same network from scratch, trained and scored by public code."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._shared.frozen import FROZEN
from benchmarks._shared.rows import append, finished
from weit_rl.options.command import compose

CELL = ["method", "size", "seed", "scaler_steps", "train_steps"]
FIELDS = [*CELL, "return_mean", "return_std", "score", "seconds"]
ROWS = "results*.csv"


@dataclass(frozen=True)
class Cell:
    """One training: a method, a size, a seed and its budgets in gradient steps."""

    method: str
    size: str
    seed: int
    scaler_steps: int
    train_steps: int

    def key(self) -> tuple[str, ...]:
        """Return the cell's columns as a row has them."""
        return tuple(str(v) for v in (self.method, self.size, self.seed, self.scaler_steps, self.train_steps))


def bank_of(out: Path, seed: int) -> Path:
    """Return the file of the bank of a pre-training seed."""
    return out / "banks" / f"seed{seed}" / "bank.safetensors"


def make_banks(out: Path, data: str, one_seed: bool, part: tuple[int, int], options: Sequence[str] = ()) -> None:
    """Pre-train the banks of one part, or resume them.

    Args:
        out: folder of results.
        data: option ``data`` of pre-training.
        one_seed: whether to make the first seed's bank only.
        part: number of this process, and how many processes share the seeds.
        options: further options of pre-training.
    """
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
    """Train one cell and score it on test episodes; return its row."""
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
    """Run every cell of one part that has no row yet; skip a cell of WeiT until its bank exists."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / ("results.csv" if part[1] == 1 else f"results-{part[0]}.csv")
    for number, cell in enumerate(wanted):
        done = {tuple(row[field] for field in CELL) for row in finished(out, ROWS, CELL)}
        ready = cell.method != "weit" or bank_of(out, cell.seed).exists()
        if number % part[1] != part[0] or cell.key() in done or not ready:
            continue
        append(path, fields, run_cell(cell, out, data, options, fields))
