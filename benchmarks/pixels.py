"""Policies from pixels: WeiT against the same network from scratch, two of the reported sizes, two environments.

    python benchmarks/pixels.py data  --env HalfCheetah --out benchmarks/results/pixels
    python benchmarks/pixels.py banks --env HalfCheetah --out benchmarks/results/pixels [--part 0/2]
    python benchmarks/pixels.py run   --env HalfCheetah --out benchmarks/results/pixels [--part 0/2]
    python benchmarks/pixels.py table --env HalfCheetah --out benchmarks/results/pixels

and the same with ``--env dmc/cartpole-swingup``, and with ``--recipe small`` behind ``data``. What is finished is kept,
as in ``sizes.py``, whose cells these are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rows import finished
from sizes import FIELDS as STATES
from sizes import FROZEN, ROWS, Cell, make_banks, run

from weit_rl.options.command import compose

FIELDS = [*STATES, "validation_loss"]
EPISODES = 40  # of data, the best level
RECIPES = {  # options of the bank
    "default": ["steps=3000"],  # as many as the longest training from scratch
    # small networks, one a step, for the FLOPs of the default
    "small": ["size=64x4", "widths=[64]", "depths=[2, 3, 4]", "masks=one", "steps=16685"],
}
SIZES = ["32x3", "96x4"]  # a convolution of 160x5 costs six times as much as one of 96x4
RECORDED = {  # how the data of an environment come about: drawn from what ships, or from a policy's episodes
    "HalfCheetah": ["mode=render", "data=expert", f"episodes={EPISODES}"],
    "dmc/cartpole-swingup": ["steps=120000", f"levels.expert={EPISODES}", "levels.medium=0", "levels.random=0"],
}


def record(env: str, out: Path) -> None:
    """Make the data, or go on with it."""
    from weit_rl.workflows.collect_modes import collect

    folder = out / "recorded"
    if RECORDED[env][0] != "mode=render" or not folder.exists():
        collect(compose("collect", [f"env={env}", "pixels=64", f"run_dir={folder}", *RECORDED[env]]))


def recorded(out: Path) -> Path:
    """The data set: the level of a training, or the folder itself."""
    level = out / "recorded" / "data" / "expert"
    return level if level.exists() else out / "recorded"


def cells(sizes: list[str], one_seed: bool) -> list[Cell]:
    """Every training of the table: scaler stages of 0 and 300 steps, and three budgets from scratch."""
    seeds = FROZEN["seeds"][: 1 if one_seed else None]
    weit = [Cell("weit", size, seed, steps, 0) for seed in seeds for size in sizes for steps in (0, 300)]
    budgets = [(seed, steps) for seed in seeds for steps in FROZEN["scratch"]]
    return weit + [Cell("scratch", size, seed, 0, steps) for seed, steps in budgets for size in sizes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["data", "banks", "run", "table"])
    parser.add_argument("--env", choices=RECORDED, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="conv")
    parser.add_argument("--recipe", choices=RECIPES, default="default")
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--one-seed", action="store_true")
    parser.add_argument("--part", default="0/1", type=lambda text: tuple(map(int, text.split("/"))))
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
        from sizes_table import write_table

        write_table(finished(results, ROWS), results, f"From pixels, {arguments.env}, model={results.name}")


if __name__ == "__main__":
    main()
