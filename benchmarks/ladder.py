"""A ladder of ten sizes to a common score: one bank and short stages against training every size directly.

    OMP_NUM_THREADS=1 python benchmarks/ladder.py banks --out benchmarks/results/ladder [--part 0/2]
    OMP_NUM_THREADS=1 python benchmarks/ladder.py run   --out benchmarks/results/ladder [--part 0/2]
    python benchmarks/ladder.py table --out benchmarks/results/ladder

With ``--of digits --out benchmarks/results/ladder-digits`` the same of classifiers of images. Each size climbs its
budgets, each with its own finished schedule, until the score is reached; only the budget that reached it is counted,
for both sides alike, and the pre-training of the bank is counted in full. Finished cells are kept in cells.csv, so a
killed run goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ladders import LADDERS, Ladder
from rows import Row, append, finished

from weit_rl.comparison.runs import finish, finish_training
from weit_rl.comparison.tables import Table
from weit_rl.storage.tensor_file import read_card

SIZES = ("64x2", "64x4", "96x3", "96x6", "128x3", "128x4", "160x3", "192x4", "224x6", "256x8")
SMALL = ["size=64x4", "widths=[64]", "depths=[2, 3, 4]"]  # one cheap width: every wider size is widened from it
PRETRAINING = {  # every one is shown; that of 64 x 8 was added once the others had been seen
    "64 x 4, 1,000 steps": [*SMALL, "steps=1000"],
    "64 x 4, 3,000 steps": [*SMALL, "steps=3000"],
    "64 x 8, 2,000 steps": ["size=64x8", "widths=[64]", "depths=[2, 3, 4, 6, 8]", "steps=2000"],
    "128 x 6, 1,000 steps": ["steps=1000"],
    "128 x 6, 3,000 steps": ["steps=3000"],
}
STAGES = (0, 30, 100, 300)  # steps on scalers; where they do not reach the score, training steps follow
FURTHER = (300, 700)
COMMON = ["threads=1", "precision=medium"]
FIELDS = ("source", "size", "budget", "return_mean", "flops")  # the result, whatever the task
ROWS = "cells*.csv"


def climbs() -> list[tuple[str, str]]:
    """Every source with every size; cheap sizes first."""
    return [(source, size) for size in SIZES for source in ("scratch", *PRETRAINING)]


def budgets(source: str, scratch: tuple[int, ...]) -> list[tuple[int, list[str]]]:
    """Steps in all, and the options that say so, in the order in which they are tried."""
    if source == "scratch":
        return [(steps, ["init=scratch", f"train_steps={steps}"]) for steps in scratch]
    pairs = [*((steps, 0) for steps in STAGES), *((STAGES[-1], steps) for steps in FURTHER)]
    return [(a + b, ["init=weit", f"scaler_steps={a}", f"train_steps={b}"]) for a, b in pairs]


def bank(out: Path, source: str) -> Path:
    """The file of a bank."""
    return out / "banks" / place_of(source) / "bank.safetensors"


def place_of(source: str) -> str:
    """A folder's name for a source."""
    return source.replace(" ", "").replace(",", "")


def climb(ladder: Ladder, source: str, size: str, out: Path, file: Path) -> None:
    """Train with growing budgets until the highest score is reached."""
    for budget, words in budgets(source, ladder.scratch):
        before = [
            r for r in finished(out, ROWS) if (r["source"], r["size"], r["budget"]) == (source, size, str(budget))
        ]
        if not before:
            common = [f"size={size}", *ladder.words, *ladder.own, *COMMON]
            place = out / "runs" / f"{place_of(source)}-{size}-{budget}"
            begun = [] if source == "scratch" else [f"bank={bank(out, source)}"]
            report = finish_training(place, [*common, *words, *begun])
            before = [dict(zip(FIELDS, (source, size, budget, report[ladder.metric], report["flops"]), strict=True))]
            append(file, FIELDS, before[0])
        if float(before[0]["return_mean"]) >= max(ladder.goals.values()):
            return


def reached(rows: list[Row], source: str, size: str, goal: float) -> Row | None:
    """The cell of the smallest budget that reaches it."""
    own = sorted((r for r in rows if (r["source"], r["size"]) == (source, size)), key=lambda r: int(r["budget"]))
    return next((row for row in own if float(row["return_mean"]) >= goal), None)


def pretraining_flops(out: Path, source: str) -> float:
    """What a bank cost."""
    return 0.0 if source == "scratch" else float(read_card(bank(out, source))["flops"])


def table(ladder: Ladder, out: Path, named: str) -> Table:
    """FLOPs of the whole ladder by source."""
    rows, lines, direct = finished(out, ROWS), [], None
    for source in ("scratch", *PRETRAINING):
        cells = [reached(rows, source, size, ladder.goals[named]) for size in SIZES]
        begun = pretraining_flops(out, source)
        stages = sum(float(cell["flops"]) for cell in cells if cell)
        total = begun + stages
        missing = [size for size, cell in zip(SIZES, cells, strict=True) if cell is None]
        direct = total if source == "scratch" else direct
        name = "every size from scratch" if source == "scratch" else f"a bank of {source}"
        steps = ", ".join(cell["budget"] if cell else "-" for cell in cells)
        ratio = f"{total / direct:.2f}" if direct and not missing else "not reached"
        lines.append([name, f"{begun:.2e}", f"{stages:.2e}", f"{total:.2e}", ratio, steps])
    header = ["source", "pre-training", "on the sizes", "FLOPs in all", "over scratch", f"steps at {', '.join(SIZES)}"]
    note = f"At least {ladder.goals[named]:,.0f} {ladder.said}."
    return Table(f"Ten sizes to {named}", header, lines, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["banks", "run", "table"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--of", choices=LADDERS, default="control")
    parser.add_argument("--part", default="0/1", type=lambda text: tuple(map(int, text.split("/"))))
    arguments = parser.parse_args()
    (number, parts), ladder = arguments.part, LADDERS[arguments.of]
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.what == "banks":
        for source, words in list(PRETRAINING.items())[number::parts]:
            finish("pretrain", bank(arguments.out, source).parent, [*words, *ladder.words, "score_sizes=[]", *COMMON])
        return
    if arguments.what == "run":
        for source, size in climbs()[number::parts]:
            climb(ladder, source, size, arguments.out, arguments.out / f"cells-{number}.csv")
        return
    text = "\n".join(table(ladder, arguments.out, named).markdown() for named in ladder.goals)
    (arguments.out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
