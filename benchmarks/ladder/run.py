"""Compare the FLOPs of bringing ten sizes to one score: a bank and short stages against training every size.

    export OMP_NUM_THREADS=1
    python -m benchmarks.ladder.run banks [--of digits] [--part 0/2]
    python -m benchmarks.ladder.run run [--of digits] [--part 0/2]
    python -m benchmarks.ladder.run table [--of digits]

``--of control`` (the default) is HalfCheetah, ``--of digits`` classifies images. Each size tries growing budgets, each
with its own finished schedule, until it reaches the score. Only the budget that reached it counts, for both sides. The
pre-training of the bank counts in full. Finished cells stay in ``cells*.csv``, so the same command resumes.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks._shared.ladders import LADDERS, Ladder
from benchmarks._shared.result_page import with_command
from benchmarks._shared.rows import Row, append, finished
from benchmarks._shared.script import add_out, add_part, make_parser, run_script
from weit_rl.comparison.runs import finish_run, finish_training
from weit_rl.comparison.tables import Table
from weit_rl.options.command import compose
from weit_rl.storage.tensor_file import read_card

SIZES = ("64x2", "64x4", "96x3", "96x6", "128x3", "128x4", "160x3", "192x4", "224x6", "256x8")
SMALL = ["size=64x4", "widths=[64]", "depths=[2, 3, 4]"]  # one cheap width: all wider sizes grow from it
PRETRAINING = {  # 64 x 8 was added after the results of the others
    "64 x 4, 1,000 steps": [*SMALL, "steps=1000"],
    "64 x 4, 3,000 steps": [*SMALL, "steps=3000"],
    "64 x 8, 2,000 steps": ["size=64x8", "widths=[64]", "depths=[2, 3, 4, 6, 8]", "steps=2000"],
    "128 x 6, 1,000 steps": ["steps=1000"],
    "128 x 6, 3,000 steps": ["steps=3000"],
}
STAGES = (0, 30, 100, 300)  # steps of the scaler stage; training steps follow if they do not reach the score
FURTHER = (300, 700)
COMMON = ["threads=1", "precision=medium"]
CELL = ("source", "size", "budget")
FIELDS = (*CELL, "return_mean", "flops")  # return_mean holds the score of any task
ROWS = "cells*.csv"


def climbs() -> list[tuple[str, str]]:
    """List every source with every size, the cheapest sizes first."""
    return [(source, size) for size in SIZES for source in ("scratch", *PRETRAINING)]


def budgets(source: str, scratch: tuple[int, ...]) -> list[tuple[int, list[str]]]:
    """List the budgets in the order in which they are tried: steps, and the options of training."""
    if source == "scratch":
        return [(steps, ["init=scratch", f"train_steps={steps}"]) for steps in scratch]
    pairs = [*((steps, 0) for steps in STAGES), *((STAGES[-1], steps) for steps in FURTHER)]
    return [(a + b, ["init=weit", f"scaler_steps={a}", f"train_steps={b}"]) for a, b in pairs]


def bank(out: Path, source: str) -> Path:
    """Return the file of a bank."""
    return out / "banks" / place_of(source) / "bank.safetensors"


def place_of(source: str) -> str:
    """Return the folder name of a source."""
    return source.replace(" ", "").replace(",", "")


def climb(ladder: Ladder, source: str, size: str, out: Path, file: Path) -> None:
    """Train with growing budgets until the highest score is reached."""
    for budget, words in budgets(source, ladder.scratch):
        before = [
            r for r in finished(out, ROWS, CELL) if (r["source"], r["size"], r["budget"]) == (source, size, str(budget))
        ]
        if not before:
            common = [f"size={size}", *ladder.words, *ladder.own, *COMMON]
            place = out / "runs" / f"{place_of(source)}-{size}-{budget}"
            start = [] if source == "scratch" else [f"bank={bank(out, source)}"]
            report = finish_training(place, compose("train", [*common, *words, *start]))
            before = [dict(zip(FIELDS, (source, size, budget, report[ladder.metric], report["flops"]), strict=True))]
            append(file, FIELDS, before[0])
        if float(before[0]["return_mean"]) >= max(ladder.goals.values()):
            return


def reached(rows: list[Row], source: str, size: str, goal: float) -> Row | None:
    """Return the row of the smallest budget that reaches a score; None if none does."""
    own = sorted((r for r in rows if (r["source"], r["size"]) == (source, size)), key=lambda r: int(r["budget"]))
    return next((row for row in own if float(row["return_mean"]) >= goal), None)


def pretraining_flops(out: Path, source: str) -> float:
    """Return the FLOPs of pre-training a bank."""
    return 0.0 if source == "scratch" else float(read_card(bank(out, source))["flops"])


def table(ladder: Ladder, out: Path, named: str) -> Table:
    """Build the table of a score: the FLOPs of all sizes by source."""
    rows, lines, direct = finished(out, ROWS, CELL), [], None
    for source in ("scratch", *PRETRAINING):
        cells = [reached(rows, source, size, ladder.goals[named]) for size in SIZES]
        before = pretraining_flops(out, source)
        stages = sum(float(cell["flops"]) for cell in cells if cell)
        total = before + stages
        missing = [size for size, cell in zip(SIZES, cells, strict=True) if cell is None]
        direct = total if source == "scratch" else direct
        name = "every size from scratch" if source == "scratch" else f"a bank of {source}"
        steps = ", ".join(cell["budget"] if cell else "-" for cell in cells)
        ratio = f"{total / direct:.2f}" if direct and not missing else "not reached"
        lines.append([name, f"{before:.2e}", f"{stages:.2e}", f"{total:.2e}", ratio, steps])
    header = ["source", "pre-training", "on the sizes", "FLOPs in all", "over scratch", f"steps at {', '.join(SIZES)}"]
    note = f"At least {ladder.goals[named]:,.0f} {ladder.unit}."
    return Table(f"Ten sizes to {named}", header, lines, note)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["banks", "run", "table"])
    add_out(parser)
    parser.add_argument("--of", choices=LADDERS, default="control")
    add_part(parser)
    arguments = parser.parse_args()
    (number, parts), ladder = arguments.part, LADDERS[arguments.of]
    out = arguments.out or Path(__file__).parent / arguments.of
    out.mkdir(parents=True, exist_ok=True)
    if arguments.what == "banks":
        for source, words in list(PRETRAINING.items())[number::parts]:
            options = compose("pretrain", [*words, *ladder.words, "score_sizes=[]", *COMMON])
            finish_run("pretrain", bank(out, source).parent, options)
        return
    if arguments.what == "run":
        for source, size in climbs()[number::parts]:
            climb(ladder, source, size, out, out / f"cells-{number}.csv")
        return
    text = "\n".join(table(ladder, out, named).markdown() for named in ladder.goals)
    text = with_command(text, f"python -m benchmarks.ladder.run banks|run|table --of {arguments.of}")
    (out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    run_script(main)
