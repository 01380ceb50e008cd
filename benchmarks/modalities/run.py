"""Compare a small bank with scratch for speech, video and multimodal control, at a size that no bank sampled.

    OMP_NUM_THREADS=1 python -m benchmarks.modalities.run [--only speech]

Speech needs espeak-ng, which speaks the digits (``apt-get install espeak-ng``). The others render the shipped episodes
of HalfCheetah. Finished cells stay, so the same command resumes. The table is written at the end.
"""

from __future__ import annotations

import platform
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._shared.rows import Row, append, finished
from benchmarks._shared.script import add_out, make_parser, run_script
from weit_rl.options.command import compose

SIZE = "96x3"
SAMPLED = ["size=128x4", "widths=[64, 128]", "depths=[2, 4]", "steps=1000", "score_sizes=[]"]
CELLS = [("weit", 0, 0), ("weit", 100, 0), ("scratch", 0, 100), ("scratch", 0, 300)]
MEASURES = ["accuracy", "return_mean", "validation_loss"]
CELL = ["modality", "method", "size", "scaler_steps", "train_steps"]
FIELDS = [*CELL, *MEASURES, "seconds"]
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ACCENTS = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029"]
VOICES = {"train": ["m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3"], "test": ["m6", "m7", "f4", "f5"]}
SPOKEN = {"train": 40, "test": 10}  # recordings of each digit


def speak(out: Path) -> None:
    """Record digits by espeak-ng in class folders: test voices of their own; random accents, speeds and pitches."""
    draw, part_folder = random.Random(0), out.with_name("part")
    shutil.rmtree(part_folder, ignore_errors=True)
    for part, count in SPOKEN.items():
        for digit in DIGITS:
            (part_folder / part / digit).mkdir(parents=True)
            for i in range(count):
                voice = f"{draw.choice(ACCENTS)}+{VOICES[part][i % len(VOICES[part])]}"
                how = ["-v", voice, "-s", str(draw.randint(130, 200)), "-p", str(draw.randint(30, 70))]
                path = part_folder / part / digit / f"{i}.wav"
                subprocess.run(["espeak-ng", *how, "-w", str(path), digit], check=True)
    part_folder.rename(out)


def render(out: Path) -> None:
    """Render the episodes of the expert level as pictures beside their states."""
    from weit_rl.workflows.collect_modes import collect

    collect(compose("collect", ["mode=render", "env=HalfCheetah", "pixels=64", "data=expert", f"run_dir={out}"]))


NOTE = f"""

{SIZE} after so many gradient steps, one seed. Speech: accuracy in percent on 100 digits spoken by voices that are
not in the training data. Video and multimodal: squared error of the action on held-out episodes and, in brackets,
return of 5 test episodes. Each bank: 1000 steps at 128x4, sampled at widths 64 and 128 and depths 2 and 4.
"""
COMMAND = "    OMP_NUM_THREADS=1 python -m benchmarks.modalities.run"


@dataclass(frozen=True)
class Modality:
    """A modality's data and options.

    Attributes:
        data: name of the data's folder.
        record: makes the data in a folder.
        both: options of pre-training and of training.
        train: further options of training.
    """

    data: str
    record: Callable[[Path], None]
    both: list[str]
    train: list[str]


SPEECH = ["task=classification", "model=vit", "patch_size=16", "batch_size=32"]
PICTURES = ["env=HalfCheetah", "pixels=64", "batch_size=16"]
ACT = ["episodes=5", "validation_episodes=0"]
MODALITIES = {
    "speech": Modality("spoken", speak, SPEECH, ["validation=false"]),
    "video": Modality("frames", render, [*PICTURES, "model=video"], ACT),
    "multimodal": Modality("frames", render, [*PICTURES, "model=multimodal"], ACT),
}


def run(name: str, out: Path) -> None:
    """Make the data and the bank of a modality, and run every cell that has no row yet."""
    from weit_rl.workflows.pretrain_run import pretrain
    from weit_rl.workflows.training import train

    own, bank = MODALITIES[name], out / "banks" / name
    data = out / "recorded" / own.data
    data.parent.mkdir(parents=True, exist_ok=True)
    if not data.exists():
        own.record(data)
    if not (bank / "bank.safetensors").exists():
        words = [*own.both, *SAMPLED, f"data={data}", f"run_dir={bank}"]
        if (bank / "config.yaml").exists():
            words = [*(word for word in words if word.startswith("task=")), f"resume={bank}"]
        pretrain(compose("pretrain", words))
    for method, scaler_steps, train_steps in CELLS:
        key = (name, method, SIZE, str(scaler_steps), str(train_steps))
        if key in {tuple(row[field] for field in CELL) for row in finished(out, "results.csv", CELL)}:
            continue
        folder = out / "runs" / "-".join(key)
        shutil.rmtree(folder, ignore_errors=True)
        words = [*own.both, *own.train, f"data={data}", f"size={SIZE}", f"init={method}", f"run_dir={folder}"]
        words += [f"scaler_steps={scaler_steps}", f"train_steps={train_steps}"]
        words += [f"bank={bank / 'bank.safetensors'}"] * (method == "weit")
        report = train(compose("train", words))
        append(out / "results.csv", FIELDS, dict(zip(FIELDS, key, strict=False)) | numbers(report))
        shutil.rmtree(folder)


def numbers(report: dict[str, Any]) -> dict[str, Any]:
    """Return the measures of a report that a row has."""
    return {field: report.get(field, "") for field in FIELDS[5:]}


def write_table(rows: list[Row], out: Path) -> None:
    """Write ``out/README.md`` and print it."""
    heads = [f"{'WeiT' if method == 'weit' else method} {a + b}" for method, a, b in CELLS]
    lines = [f"| modality | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for name in MODALITIES:
        found = {(r["method"], int(r["scaler_steps"]), int(r["train_steps"])): r for r in rows if r["modality"] == name}
        lines.append(f"| {name} | {' | '.join(shown(found.get(cell)) for cell in CELLS)} |")
    text = "\n".join(lines) + NOTE + f"{platform.machine()}, {platform.system()}, one thread.\n"
    (out / "README.md").write_text(f"# Three more modalities\n\n{COMMAND}\n\n{text}")
    print(text)


def shown(row: Row | None) -> str:
    """Format a cell."""
    if row is None:
        return ""
    if row["accuracy"]:
        return f"{float(row['accuracy']):.0f}"
    return f"{float(row['validation_loss']):.4f} ({float(row['return_mean']):.0f})"


def main() -> None:
    parser = make_parser(__doc__)
    add_out(parser, Path(__file__).parent)
    parser.add_argument("--only", choices=MODALITIES)
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else MODALITIES:
        run(name, arguments.out)
    write_table(finished(arguments.out, "results.csv", CELL), arguments.out)


if __name__ == "__main__":
    run_script(main)
