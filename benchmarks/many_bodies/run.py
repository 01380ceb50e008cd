"""Start policies of bodies that a bank never saw from one bank of four bodies: return by episodes and by steps.

    export OMP_NUM_THREADS=1
    python -m benchmarks.many_bodies.run data [--part 0/2]
    python -m benchmarks.many_bodies.run banks [--part 0/2]
    python -m benchmarks.many_bodies.run run [--part 0/2]
    python -m benchmarks.many_bodies.run table

The bodies were held out of all tuning. Finished data, banks and cells stay, so the same command resumes.
"""

from __future__ import annotations

import statistics
from itertools import product
from pathlib import Path

from benchmarks._shared.frozen import FROZEN
from benchmarks._shared.result_page import with_command
from benchmarks._shared.rows import Row, append, finished
from benchmarks._shared.script import add_out, add_part, make_parser, run_script
from weit_rl.comparison.runs import finish_run, finish_training
from weit_rl.comparison.tables import Table
from weit_rl.models.shipped_banks import own_bank
from weit_rl.options.command import compose

BODIES = "[HalfCheetah, Hopper, Walker2d, Swimmer]"
HELD_OUT = {  # body -> how its episodes are recorded
    "Ant": [
        "algorithm=PPO",
        "steps=2457000",
        "hyperparameters={n_steps: 512, batch_size: 256, policy_kwargs: {log_std_init: -1}}",
    ],
    "HalfCheetah:limbs=0.75": ["algorithm=SAC", "steps=140000"],
    "Swimmer:links=4": [
        "algorithm=PPO",
        "steps=600000",
        "hyperparameters={n_steps: 1024, batch_size: 256, gamma: 0.9999, gae_lambda: 0.98, learning_rate: 6e-4}",
    ],
}
BANKS = {"many": ["constraint=kronecker"], "supernet": ["constraint=identity"]}
PRETRAINING = [f"env={BODIES}", "steps=9500", "score_sizes=[]", "precision=medium"]
SIZE, EPISODES, STEPS = "96x4", (1, 5, 20), (0, 10, 30, 100)
METHODS = {  # options; the stage trains free parameters, and scalers where the bank has them
    "the bank of four bodies": ["init=weit", "init_options={stage: scalers}"],
    "the bank of HalfCheetah": ["init=weit", "init_options={stage: scalers}"],
    "supernet of four bodies": ["init=supernet"],
    "scratch": ["init=scratch"],
}
LONGER = (300, 1000)  # further budgets from scratch
CELL = ("body", "method", "episodes", "steps", "seed")
FIELDS = (*CELL, "return_mean", "validation_loss")
Cell = tuple[str, str, int, int, int]


def recorded(out: Path, body: str) -> str:
    """Return the folder of a body's expert episodes."""
    return str(out / "data" / body.replace(":", "-") / "data" / "expert")


def bank(out: Path, method: str) -> Path | None:
    """Return the bank of a method; None from scratch."""
    places = {
        "the bank of four bodies": out / "banks" / "many" / "bank.safetensors",
        "the bank of HalfCheetah": own_bank("HalfCheetah", "dt"),
        "supernet of four bodies": out / "banks" / "supernet" / "bank.safetensors",
    }
    return places.get(method)


def cells() -> list[Cell]:
    """List all cells, the first seed's first."""
    grid = product(FROZEN["seeds"], HELD_OUT, EPISODES, METHODS)
    return [(b, m, e, steps, seed) for seed, b, e, m in grid for steps in budgets(m)]


def budgets(method: str) -> tuple[int, ...]:
    """Return the steps of a method's cells."""
    return STEPS[1:] + LONGER if method == "scratch" else STEPS


def run_cell(cell: Cell, out: Path) -> Row:
    """Train one cell by the code of the public command; return its row."""
    body, method, episodes, steps, seed = cell
    stage = "train_steps" if method == "scratch" else "scaler_steps"
    counts = {"scaler_steps": 0, "train_steps": 0, stage: steps, "data_episodes": episodes, "seed": seed}
    words = [f"env={body}", f"data={recorded(out, body)}", f"size={SIZE}", "validation_episodes=0", "threads=1"]
    words += ["precision=medium", "episodes=10", *METHODS[method], *(f"{k}={v}" for k, v in counts.items())]
    start = bank(out, method)
    name = "-".join(str(part) for part in cell).replace(" ", "").replace(":", "-")
    options = compose("train", [*words, *([f"bank={start}"] if start else [])])
    report = finish_training(out / "runs" / name, options)
    return dict(zip(FIELDS, (*cell, report["return_mean"], report["validation_loss"]), strict=True))


def run(out: Path, number: int, parts: int) -> None:
    """Run every cell of one part that has no row yet and whose data and bank exist."""
    for cell in cells()[number::parts]:
        start, ready = bank(out, cell[1]), Path(recorded(out, cell[0])).exists()
        if not ready or (start and not start.exists()):
            continue
        done = {tuple(row[name] for name in CELL) for row in finished(out, "cells*.csv", CELL)}
        if tuple(map(str, cell)) not in done:
            append(out / f"cells-{number}.csv", FIELDS, run_cell(cell, out))


def table(rows: list[Row], body: str) -> Table:
    """Build the table of a body: return by method, episodes and steps, the mean of the finished seeds."""
    steps, lines = STEPS + LONGER, []
    for method, episodes in product(METHODS, EPISODES):
        shown = []
        for count in steps:
            own = [r for r in rows if (r["body"], r["method"]) == (body, method)]
            own = [r for r in own if (r["episodes"], r["steps"]) == (str(episodes), str(count))]
            returns = [float(r["return_mean"]) for r in own]
            shown.append(f"{statistics.mean(returns):,.0f} ({len(own)})" if own else "")
        lines.append([method, str(episodes), *shown])
    note = (
        f"Mean return over 10 episodes (number of seeds), {SIZE}, after so many steps on so many episodes of its own."
    )
    return Table(f"A body no bank saw: {body}", ["method", "episodes", *(f"{n} steps" for n in steps)], lines, note)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["data", "banks", "run", "table"])
    add_out(parser, Path(__file__).parent)
    add_part(parser)
    arguments = parser.parse_args()
    (number, parts), out = arguments.part, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.what == "data":
        from weit_rl.workflows.collect_modes import collect

        for body, words in list(HELD_OUT.items())[number::parts]:
            place = out / "data" / body.replace(":", "-")
            levels = ["levels.medium=0", "levels.random=0"]
            collect(compose("collect", [f"env={body}", f"run_dir={place}", "snapshot_every=100000", *levels, *words]))
    elif arguments.what == "banks":
        for name, words in list(BANKS.items())[number::parts]:
            finish_run("pretrain", out / "banks" / name, compose("pretrain", [*PRETRAINING, *words]))
    elif arguments.what == "run":
        run(out, number, parts)
    else:
        text = "\n".join(table(finished(out, "cells*.csv", CELL), body).markdown() for body in HELD_OUT)
        text = with_command(text, "python -m benchmarks.many_bodies.run data|banks|run|table")
        (out / "README.md").write_text(text)
        print(text)


if __name__ == "__main__":
    run_script(main)
