"""Compare WeiT from pixels with the same network from scratch, at two of the reported sizes in two environments.

    export OMP_NUM_THREADS=1
    python -m benchmarks.pixels.run data --env HalfCheetah
    python -m benchmarks.pixels.run banks --env HalfCheetah [--part 0/2]
    python -m benchmarks.pixels.run run --env HalfCheetah [--part 0/2]
    python -m benchmarks.pixels.run table --env HalfCheetah

``--env dmc/cartpole-swingup`` is the other environment. ``--recipe small`` makes a bank of small networks with the
FLOPs of the default one; its rows of scratch are copies. Finished data, banks and cells stay, so the same command
resumes.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks._shared.frozen import FROZEN
from benchmarks._shared.rows import finished
from benchmarks._shared.script import add_out, add_part, make_parser, run_script
from benchmarks._shared.size_cells import CELL, ROWS, Cell, make_banks, run
from benchmarks._shared.size_cells import FIELDS as STATES
from benchmarks._shared.sizes_table import write_table
from weit_rl.options.command import compose

FIELDS = [*STATES, "validation_loss"]
EPISODES = 40  # of data, expert level
RECIPES = {  # options of pre-training
    "default": ["steps=3000"],  # as many as the longest training from scratch
    # small networks, one a step, with the FLOPs of the default
    "small": ["size=64x4", "widths=[64]", "depths=[2, 3, 4]", "masks=one", "steps=16685"],
}
SIZES = ["32x3", "96x4"]  # a convolution of 160x5 costs six times as much as one of 96x4
RECORDED = {  # options that make the data: rendered from the shipped states, or recorded from a new expert
    "HalfCheetah": ["mode=render", "data=expert", f"episodes={EPISODES}"],
    "dmc/cartpole-swingup": ["steps=120000", f"levels.expert={EPISODES}", "levels.medium=0", "levels.random=0"],
}


def record(env: str, out: Path) -> None:
    """Make the data of an environment, or resume."""
    from weit_rl.workflows.collect_modes import collect

    folder = out / "recorded"
    if RECORDED[env][0] != "mode=render" or not folder.exists():
        collect(compose("collect", [f"env={env}", "pixels=64", f"run_dir={folder}", *RECORDED[env]]))


def recorded(out: Path) -> Path:
    """Return the data set: the expert level of a new expert, or the folder of rendered episodes."""
    level = out / "recorded" / "data" / "expert"
    return level if level.exists() else out / "recorded"


def cells(sizes: list[str], one_seed: bool) -> list[Cell]:
    """List all cells: scaler stages of 0 and 300 steps, and three budgets from scratch."""
    seeds = FROZEN["seeds"][: 1 if one_seed else None]
    weit = [Cell("weit", size, seed, steps, 0) for seed in seeds for size in sizes for steps in (0, 300)]
    budgets = [(seed, steps) for seed in seeds for steps in FROZEN["scratch"]]
    return weit + [Cell("scratch", size, seed, 0, steps) for seed, steps in budgets for size in sizes]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["data", "banks", "run", "table"])
    parser.add_argument("--env", choices=RECORDED, required=True)
    add_out(parser, Path(__file__).parent)
    parser.add_argument("--model", default="conv")
    parser.add_argument("--recipe", choices=RECIPES, default="default")
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--one-seed", action="store_true")
    add_part(parser)
    arguments = parser.parse_args()
    out, one_seed = arguments.out / arguments.env.replace("/", "-"), arguments.one_seed
    results = out / (arguments.model + f"-{arguments.recipe}" * (arguments.recipe != "default"))
    options = [f"env={arguments.env}", "pixels=64", f"model={arguments.model}"]
    if arguments.what == "data":
        record(arguments.env, out)
    elif arguments.what == "banks":
        bank = [*options, *RECIPES[arguments.recipe], "score_sizes=[]"]
        make_banks(results, str(recorded(out)), one_seed, arguments.part, bank)
    elif arguments.what == "run":
        run(results, str(recorded(out)), cells(arguments.sizes, one_seed), arguments.part, options, FIELDS)
    else:
        recipe = "" if arguments.recipe == "default" else f" --recipe {arguments.recipe}"
        command = f"python -m benchmarks.pixels.run data|banks|run|table --env {arguments.env}{recipe}"
        title = f"From pixels, {arguments.env}, model={results.name}"
        write_table(finished(results, ROWS, CELL), results, command, title)


if __name__ == "__main__":
    run_script(main)
