"""What each choice of the method is worth: scaler starts, rank, tile, mask rule, constraint; one table each.

    python benchmarks/ablations.py scalers --out benchmarks/results/ablations
    python benchmarks/ablations.py rank    --out benchmarks/results/ablations

A variant is a bank (pre-trained where it is not the one that ships) and options of the training that starts from it.
Finished banks and cells are kept; OMP_NUM_THREADS=1 and a call for each of two families use two cores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml

from weit_rl.comparison.runs import finish, finish_training
from weit_rl.comparison.tables import Table
from weit_rl.errors import NotDefined

FROZEN = yaml.safe_load((Path(__file__).parent / "frozen.yaml").read_text())
Variant = tuple[list[str], list[str]]  # options of pre-training (none: the bank that ships), options of training


def made_with(*words: str) -> Variant:
    """A bank of its own."""
    return ["score_sizes=[]", "precision=medium", *words], []


FAMILIES: dict[str, dict[str, Variant]] = {
    "scalers": {
        kind: ([], [f"init_options={{scalers: {kind}, stage: scalers}}"])
        for kind in ("trained", "linear", "identical", "random")
    },
    "rank": {
        **{str(rank): made_with(f"rank={rank}") for rank in (4, 8, 16)},
        "32 (default)": ([], []),
        "64": made_with("rank=64"),
        "auto": made_with("rank=auto"),
    },
    "tile": {"8": made_with("tile=8"), "16 (default)": ([], []), "32": made_with("tile=32")},
    "masks": {"drawn (default)": ([], []), "full": made_with("masks=full"), "none": made_with("masks=none")},
    "constraint": {
        "kronecker (default)": ([], []),
        "svd, rank 128": made_with("constraint=svd", "rank=128"),
        "tucker, rank 32": made_with("constraint=tucker", "rank=32"),
        "identity": made_with("constraint=identity"),
    },
}
EXTRA_SIZES = {"rank": ["256x8"]}  # low rank must not cap the largest rung
STEPS = (0, 300)


def cell(folder: Path, bank: list[str], size: str, steps: int, words: list[str]) -> float | None:
    """The return of one cell; None for a size its constraint does not reach."""
    common = [f"size={size}", f"scaler_steps={steps}", "train_steps=0", "validation_episodes=0", "precision=medium"]
    common += [*bank, *words]
    try:
        return finish_training(folder, [*common, f"episodes={FROZEN['episodes']}"])["return_mean"]
    except NotDefined:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    sizes, lines = [*FROZEN["reported"], *EXTRA_SIZES.get(arguments.family, [])], []
    values: dict[str, dict[str, float | None]] = {}
    for name, (pretraining, training) in FAMILIES[arguments.family].items():
        place = arguments.out / "runs" / arguments.family / name.split()[0].strip(",")
        bank = [f"bank={finish('pretrain', place / 'bank', pretraining)}"] if pretraining else []
        own = values[name] = {}
        for size in sizes:
            for steps in STEPS:
                own[f"{size}, {steps} steps"] = cell(place / f"{size}-{steps}", bank, size, steps, training)
        lines.append([name, *("n/a" if value is None else f"{value:,.0f}" for value in own.values())])
    header = [arguments.family, *next(iter(values.values()))]
    note = f"Return over {FROZEN['episodes']} test episodes after so many scaler steps; one seed, HalfCheetah expert."
    table = Table(f"Ablation: {arguments.family}", header, lines, note)
    (arguments.out / f"{arguments.family}.md").write_text(table.markdown())
    (arguments.out / f"{arguments.family}.json").write_text(json.dumps(values, indent=1) + "\n")
    print(table.markdown())


if __name__ == "__main__":
    main()
