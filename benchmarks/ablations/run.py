"""Measure what each choice of the method is worth: scaler starts, narrow starts, rank, tile, masks, constraint.

    OMP_NUM_THREADS=1 python -m benchmarks.ablations.run scalers
    OMP_NUM_THREADS=1 python -m benchmarks.ablations.run rank

Each family of variants has a table. A variant is a bank, and options of the training that starts from it. ``scalers``
and ``narrow`` start from the shipped bank, all others from banks of 3000 steps. Finished banks and cells stay, so the
same command resumes. Two calls with different families use two cores.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks._shared.frozen import FROZEN
from benchmarks._shared.result_page import with_command
from benchmarks._shared.script import add_out, make_parser, run_script
from weit_rl.common.errors import NotDefined
from weit_rl.comparison.runs import finish_run, finish_training
from weit_rl.comparison.tables import Table
from weit_rl.options.command import compose

Variant = tuple[list[str], list[str]]  # options of pre-training (none: the shipped bank), options of training


def own_bank(*words: str) -> Variant:
    """Return a variant with a bank of its own, pre-trained with these options."""
    return ["score_sizes=[]", "precision=medium", "steps=3000", *words], []


FAMILIES: dict[str, dict[str, Variant]] = {
    "scalers": {
        kind: ([], [f"init_options={{scalers: {kind}, stage: scalers}}"])
        for kind in ("trained", "linear", "identical", "random")
    },
    "narrow": {
        "fitted (default)": ([], []),
        "cut, all weights": ([], ["init_options={narrow: cut}"]),
        "cut, scalers alone": ([], ["init_options={stage: scalers}"]),
    },
    "rank": {
        **{str(rank): own_bank(f"rank={rank}") for rank in (4, 16)},
        "64 (default)": own_bank(),
        "auto": own_bank("rank=auto"),
    },
    "tile": {"8": own_bank("tile=8"), "16 (default)": own_bank(), "32": own_bank("tile=32")},
    "masks": {"drawn (default)": own_bank(), "full": own_bank("masks=full"), "none": own_bank("masks=none")},
    "constraint": {
        "kronecker (default)": own_bank(),
        "svd, rank 128": own_bank("constraint=svd", "rank=128"),
        "tucker, rank 32": own_bank("constraint=tucker", "rank=32"),
        "identity": own_bank("constraint=identity"),
    },
}
ENDS = ["32x3", "160x5"]  # the narrowest and the widest reported size
SIZES = {
    "scalers": FROZEN["reported"],
    "narrow": ["32x3"],
    "rank": [*ENDS, "256x8"],  # a low rank must not limit the largest size
}
STEPS = {"narrow": (0, 30, 100, 300)}
Cell = tuple[float, float]  # return, loss on held-out episodes


def cell(folder: Path, bank: list[str], size: str, steps: int, words: list[str]) -> Cell | None:
    """Train one cell and return its result; None for a size that the constraint cannot make."""
    common = [f"size={size}", f"scaler_steps={steps}", "train_steps=0", "validation_episodes=0", "precision=medium"]
    common += [*bank, *words]
    try:
        report = finish_training(folder, compose("train", [*common, f"episodes={FROZEN['episodes']}"]))
        return report["return_mean"], report["validation_loss"]
    except NotDefined:
        return None


def pretrained(out: Path, pretraining: list[str]) -> Path:
    """Pre-train a bank, once for all families that use it, and return its file."""
    name = "-".join(pretraining[3:]).replace("=", "") or "default"
    return finish_run("pretrain", out / "runs" / "banks" / name, compose("pretrain", pretraining))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("family", choices=FAMILIES)
    add_out(parser, Path(__file__).parent)
    arguments = parser.parse_args()
    sizes, lines = SIZES.get(arguments.family, ENDS), []
    values: dict[str, dict[str, Cell | None]] = {}
    for name, (pretraining, training) in FAMILIES[arguments.family].items():
        place = arguments.out / "runs" / arguments.family / name.replace(" ", "").replace(",", "-")
        bank = [f"bank={pretrained(arguments.out, pretraining)}"] if pretraining else []
        own = values[name] = {}
        for size in sizes:
            for steps in STEPS.get(arguments.family, (0, 300)):
                own[f"{size}, {steps} steps"] = cell(place / f"{size}-{steps}", bank, size, steps, training)
        lines.append(
            [name, *("n/a" if value is None else f"{value[0]:,.0f} ({value[1]:.4f})" for value in own.values())]
        )
    header = [arguments.family, *next(iter(values.values()))]
    note = (
        f"Return over {FROZEN['episodes']} test episodes (loss on held-out episodes) after so many steps of the stage; "
    )
    note += "one seed, HalfCheetah expert."
    table = Table(f"Ablation: {arguments.family}", header, lines, note).markdown()
    text = with_command(table, f"python -m benchmarks.ablations.run {arguments.family}")
    (arguments.out / f"{arguments.family}.md").write_text(text)
    (arguments.out / f"{arguments.family}.json").write_text(json.dumps(values, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    run_script(main)
