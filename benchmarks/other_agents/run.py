"""Train on data of agents that the shipped banks never saw, on bodies that they know, against scratch.

    export OMP_NUM_THREADS=1
    python -m benchmarks.other_agents.run run [--part 0/2] [--models mlp] [--sets tuning]
    python -m benchmarks.other_agents.run table

``--data`` is the folder of the sets. The rule of ``init=weit`` was chosen on the tuning set alone. Finished cells stay,
so the same command resumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks._shared.frozen import FROZEN
from benchmarks._shared.result_page import with_command
from benchmarks._shared.rows import Row, append, finished
from benchmarks._shared.script import add_out, add_part, make_parser, run_script
from weit_rl.comparison.cell import remove_run
from weit_rl.comparison.runs import finish_training
from weit_rl.comparison.statistics import difference, mean
from weit_rl.comparison.tables import Table
from weit_rl.options.command import compose

SETS = {
    "reported": {"hopper-tqc": "Hopper", "swimmer-sac": "Swimmer", "walker2d-tqc": "Walker2d"},
    "tuning": {"halfcheetah-sac": "HalfCheetah"},
}
SIZES = {"reported": ("96x4",), "tuning": ("192x3",)}
MODELS, STEPS, DEMONSTRATIONS, STAGE = ("mlp", "dt"), (100, 300, 1000, 3000), (18, 5), 300
WEIT, SCRATCH = "weit", "scratch"
CELL = ("model", "data", "size", "demonstrations", "steps", "method", "seed")
FIELDS = (*CELL, "return", "data_return", "validation_loss")
Cell = tuple[str, str, str, int, int, str, int]


def cells(models: Sequence[str], sets: str, seeds: Sequence[int]) -> list[Cell]:
    """List the cells, the first seed's first; both methods of a case follow each other."""
    grid = product(models, seeds, DEMONSTRATIONS, STEPS, SETS[sets], SIZES[sets], (WEIT, SCRATCH))
    return [(model, data, size, count, steps, method, seed) for model, seed, count, steps, data, size, method in grid]


def run_cell(cell: Cell, env: str, data: Path, out: Path) -> Row:
    """Train a cell by the code of the public command with its default options; return its row."""
    model, name, size, count, steps, method, seed = cell
    stage = min(STAGE, steps) if method == WEIT else 0
    words = [f"env={env}", f"data={data / name}.hdf5", f"model={model}", f"size={size}", f"data_episodes={count}"]
    words += [f"seed={seed}", "threads=1", f"init={method}", f"scaler_steps={stage}", f"train_steps={steps - stage}"]
    words += [f"episodes={FROZEN['episodes']}", "validation_episodes=0"]
    folder = out / "runs" / "-".join(map(str, cell))
    report = finish_training(folder, compose("train", words))
    remove_run(folder)
    found = (report["return_mean"], report["behaviour"]["return_mean"], report["validation_loss"])
    return dict(zip(FIELDS, (*cell, *found), strict=True))


def lines(rows: Sequence[Row], count: int) -> list[list[str]]:
    """Format the returns by steps as shares of the data's return in percent, means over the seeds."""
    found = []
    kinds = dict.fromkeys((row["model"], row["data"], row["size"]) for row in rows)
    for (model, data, size), method in product(kinds, (WEIT, SCRATCH)):
        shown = []
        for steps in STEPS:
            key = (model, data, size, str(count), str(steps), method)
            own = [row for row in rows if tuple(row[name] for name in CELL[:-1]) == key]
            shares = [100 * float(row["return"]) / float(row["data_return"]) for row in own]
            shown.append(f"{mean([shares]).text()} ({len(own)})" if own else "")
        found.append([model, data, size, method, *shown])
    return found


def differences(rows: Sequence[Row], count: int) -> list[list[str]]:
    """Format the paired differences of the shares by steps, for every model."""
    found = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [
            {
                "method": row["method"],
                "size": f"{row['data']} {row['size']}",
                "seed": int(row["seed"]),
                "budget": int(row["steps"]),
                "value": 100 * float(row["return"]) / float(row["data_return"]),
            }
            for row in rows
            if row["model"] == model and row["demonstrations"] == str(count)
        ]
        pairs = [difference(own, WEIT, SCRATCH, steps) for steps in STEPS]
        found.append([model, *(f"{pair[0].text()}, {pair[1]}" if pair else "" for pair in pairs)])
    return found


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["run", "table"])
    add_out(parser, Path(__file__).parent)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/control"))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--sets", choices=[*SETS], default="reported")
    add_part(parser)
    arguments = parser.parse_args()
    (number, parts), out = arguments.part, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    seeds = FROZEN["seeds"] if arguments.sets == "reported" else [100]
    if arguments.what == "run":
        for cell in cells(arguments.models, arguments.sets, seeds)[number::parts]:
            done = {tuple(row[name] for name in CELL) for row in finished(out, "cells*.csv", CELL)}
            if tuple(map(str, cell)) not in done:
                env = SETS[arguments.sets][cell[1]]
                append(out / f"cells-{number}.csv", FIELDS, run_cell(cell, env, arguments.data.resolve(), out))
        return
    rows = [row for row in finished(out, "cells*.csv", CELL) if row["data"] in SETS["reported"]]
    text = with_command(page(rows), "python -m benchmarks.other_agents.run run|table")
    (out / "README.md").write_text(text)
    print(text)


def page(rows: Sequence[Row]) -> str:
    """Return the tables of returns and of paired differences for both numbers of episodes."""
    header, tables = [f"{steps} steps" for steps in STEPS], []
    for count in DEMONSTRATIONS:
        note = "Return in percent of the data's, with the number of seeds."
        columns = ["model", "data", "size", "method", *header]
        tables.append(Table(f"{count} episodes of an agent that the bank never saw", columns, lines(rows, count), note))
        note = "Points (95 % bootstrap interval), number of pairs. A pair has the same data, size and seed."
        tables.append(
            Table(f"weit minus scratch, {count} episodes", ["model", *header], differences(rows, count), note)
        )
    return "# Other agents on known bodies\n\n" + "\n".join(table.markdown() for table in tables)


if __name__ == "__main__":
    run_script(main)
