"""Compare WeiT at the four reported sizes with the same network from scratch, in the same training loop.

    export OMP_NUM_THREADS=1
    python -m benchmarks.sizes.run banks [--part 0/2]
    python -m benchmarks.sizes.run run [--part 0/2]
    python -m benchmarks.sizes.run table

``--data medium --one-seed`` runs another data set. ``--model mlp`` or ``--model tcn`` runs two of the sizes of another
policy, from banks of 5000 steps. A cell is one training; a cell of WeiT waits for its bank. Finished cells stay in
``results*.csv``, so the same command resumes. ``--part 0/2`` and ``--part 1/2`` share the cells between two processes.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks._shared.frozen import FROZEN
from benchmarks._shared.rows import finished
from benchmarks._shared.script import add_out, add_part, make_parser, run_script
from benchmarks._shared.size_cells import CELL, ROWS, Cell, make_banks, run
from benchmarks._shared.sizes_table import write_table

HERE = Path(__file__).parent
OTHER_MODELS = {"sizes": ["96x4", "160x5"], "bank": ["steps=5000", "score_sizes=[]"]}


def cells(sizes: list[str], one_seed: bool, long: bool = True) -> list[Cell]:
    """List all cells, the cheapest first; ``long`` adds those that train until convergence."""
    found: list[Cell] = []
    for seed in FROZEN["seeds"][: 1 if one_seed else None]:
        found += [Cell("weit", size, seed, *budget) for size in sizes for budget in FROZEN["weit"]]
        found += [Cell("scratch", size, seed, 0, steps) for steps in FROZEN["scratch"] for size in sizes]
    if not long:
        return found
    first, steps = FROZEN["seeds"][0], FROZEN["scratch_long"]
    found += [Cell("weit", size, first, 300, steps) for size in sizes if size == FROZEN["convergence"]]
    return found + [Cell("scratch", size, first, 0, steps) for size in sizes]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["banks", "run", "table"])
    parser.add_argument("--data", default="expert")
    parser.add_argument("--model", default="dt")
    parser.add_argument("--sizes", nargs="+")
    parser.add_argument("--one-seed", action="store_true")
    add_out(parser)
    add_part(parser)
    arguments = parser.parse_args()
    long, model = arguments.model == "dt", [f"model={arguments.model}"]
    out = arguments.out or HERE / (Path(arguments.data).stem if long else arguments.model)
    sizes = arguments.sizes or (FROZEN["reported"] if long else OTHER_MODELS["sizes"])
    if arguments.what == "banks":
        options = model if long else [*model, *OTHER_MODELS["bank"]]
        make_banks(out, arguments.data, arguments.one_seed, arguments.part, options)
    elif arguments.what == "run":
        run(out, arguments.data, cells(sizes, arguments.one_seed, long), arguments.part, model)
    else:
        other_data = f" --data {arguments.data}" if arguments.data != "expert" else ""
        other_model = "" if long else f" --model {arguments.model}"
        one_seed = " --one-seed" if arguments.one_seed else ""
        command = f"python -m benchmarks.sizes.run banks|run|table{other_data}{other_model}{one_seed}"
        write_table(finished(out, ROWS, CELL), out, command)


if __name__ == "__main__":
    run_script(main)
