"""What each choice of the method is worth: scaler starts, narrow starts, rank, tile, masks, constraint; one table each.

    python benchmarks/ablations.py scalers --out benchmarks/results/ablations
    python benchmarks/ablations.py rank    --out benchmarks/results/ablations

A variant is a bank and options of the training that starts from it. Those of scalers and narrow start from the bank
that ships, all others from banks of 3000 steps, the defaults too. Finished banks and cells are kept; OMP_NUM_THREADS=1
and a call for each of two families use two cores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml

from weit_rl.common.errors import NotDefined
from weit_rl.comparison.runs import finish, finish_training
from weit_rl.comparison.tables import Table

FROZEN = yaml.safe_load((Path(__file__).parent / "frozen.yaml").read_text())
Variant = tuple[list[str], list[str]]  # options of pre-training (none: the bank that ships), options of training


def made_with(*words: str) -> Variant:
    """A bank of its own."""
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
        **{str(rank): made_with(f"rank={rank}") for rank in (4, 16)},
        "64 (default)": made_with(),
        "auto": made_with("rank=auto"),
    },
    "tile": {"8": made_with("tile=8"), "16 (default)": made_with(), "32": made_with("tile=32")},
    "masks": {"drawn (default)": made_with(), "full": made_with("masks=full"), "none": made_with("masks=none")},
    "constraint": {
        "kronecker (default)": made_with(),
        "svd, rank 128": made_with("constraint=svd", "rank=128"),
        "tucker, rank 32": made_with("constraint=tucker", "rank=32"),
        "identity": made_with("constraint=identity"),
    },
}
ENDS = ["32x3", "160x5"]  # of the reported sizes the narrowest and the widest
SIZES = {
    "scalers": FROZEN["reported"],
    "narrow": ["32x3"],
    "rank": [*ENDS, "256x8"],  # low rank must not cap the largest rung
}
STEPS = {"narrow": (0, 30, 100, 300)}
Cell = tuple[float, float]  # return, loss on held-out episodes


def cell(folder: Path, bank: list[str], size: str, steps: int, words: list[str]) -> Cell | None:
    """One cell; None for a size its constraint does not reach."""
    common = [f"size={size}", f"scaler_steps={steps}", "train_steps=0", "validation_episodes=0", "precision=medium"]
    common += [*bank, *words]
    try:
        report = finish_training(folder, [*common, f"episodes={FROZEN['episodes']}"])
        return report["return_mean"], report["validation_loss"]
    except NotDefined:
        return None


def made(out: Path, pretraining: list[str]) -> Path:
    """A bank, once for all families that have it."""
    name = "-".join(pretraining[3:]).replace("=", "") or "default"
    return finish("pretrain", out / "runs" / "banks" / name, pretraining)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    sizes, lines = SIZES.get(arguments.family, ENDS), []
    values: dict[str, dict[str, Cell | None]] = {}
    for name, (pretraining, training) in FAMILIES[arguments.family].items():
        place = arguments.out / "runs" / arguments.family / name.replace(" ", "").replace(",", "-")
        bank = [f"bank={made(arguments.out, pretraining)}"] if pretraining else []
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
    table = Table(f"Ablation: {arguments.family}", header, lines, note)
    (arguments.out / f"{arguments.family}.md").write_text(table.markdown())
    (arguments.out / f"{arguments.family}.json").write_text(json.dumps(values, indent=1) + "\n")
    print(table.markdown())


if __name__ == "__main__":
    main()
