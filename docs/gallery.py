"""Make the gallery: pictures of the shipped banks acting, of curves and of bodies, and the page that shows them.

    python docs/gallery.py --out docs/gallery

writes OUT/*.png and OUT.md (10 minutes on one core). Where nothing can be drawn, it says what to install.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from weit_rl import evaluate, train
from weit_rl.agents.video import PROBE
from weit_rl.common.errors import UserError
from weit_rl.envs.rendering import working_renderer
from weit_rl.options.command import compose
from weit_rl.storage.atomic_write import write_atomically

ROOT = Path(__file__).parents[1]
ENV = "HalfCheetah"
UNTRAINED = ["scaler_steps=0", "train_steps=0", "validation_episodes=0", "episodes=10"]
ACTING = {  # picture -> options of the run that it shows
    "dt-tiny": ["env=HalfCheetah", "size=tiny"],
    "dt-xlarge": ["env=HalfCheetah", "size=xlarge"],
    "hopper": ["env=Hopper", "size=small"],
    "walker2d": ["env=Walker2d", "size=small"],
    "swimmer": ["env=Swimmer", "size=small"],
    "mlp-small": ["env=HalfCheetah", "size=small", "model=mlp"],
}
FILMED = ["checkpoint=last", "episodes=1", "video=true"]
LEARNING = {  # run -> its options
    f"{init}-{seed}": ["size=tiny", f"init={init}", *steps, f"seed={seed}", "evaluate_every=150"]
    for init, steps in {"weit": ["scaler_steps=300", "train_steps=1200"], "scratch": ["train_steps=1500"]}.items()
    for seed in (0, 1)
}
BENCHMARK = ROOT / "benchmarks" / "comparison"
COMPARED = ["precision=medium", "run_dir=benchmarks/comparison", "profile=core", "seeds=[0, 1, 2]"]


def act(name: str, runs: Path, out: Path) -> str:
    """The section of one policy acting as the bank gives it."""
    words, folder = [*ACTING[name], *UNTRAINED], runs / name
    report = train.main(compose("train", [*words, f"run_dir={folder}"]))
    evaluate.main(compose("evaluate", [f"run={folder}", *FILMED]))
    shutil.copy(folder / "video.png", out / f"{name}.png")
    measured = f"Return over {report['episodes']} episodes: {report['return_mean']:,.0f} +- {report['return_std']:,.0f}"
    return section(
        f"{report['env']}, model={report['model']}, {report['size']}, {report['parameters']:,} parameters",
        f"{measured} (score {report['score']:.0f}); the first of them:",
        [shown("train", [*words, f"run_dir=runs/{name}"]), shown("evaluate", [f"run=runs/{name}", *FILMED])],
        out / f"{name}.png",
        out,
    )


def learn(runs: Path, out: Path) -> str:
    """The sections of one run's learning curve and of several runs beside each other."""
    for name, words in LEARNING.items():
        train.main(compose("train", ["env=" + ENV, *words, f"run_dir={runs / name}"]))
    names = list(LEARNING)
    compared = f"compare={json.dumps([str(runs / name) for name in names])}"
    report = evaluate.main(compose("evaluate", [compared, f"out={runs / 'comparison'}", "checkpoint=last"]))
    shutil.copy(runs / names[-1] / "learning_curve.png", out / "learning_curve.png")
    shutil.copy(report["files"][1], out / "comparison.png")
    commands = [shown("train", ["env=" + ENV, *words, f"run_dir=runs/{name}"]) for name, words in LEARNING.items()]
    returns = "; ".join(f"{name}: {mean.text()}" for name, mean in report["over_seeds"].items())
    together = shown("evaluate", [f"compare=[{','.join(f'runs/{name}' for name in names)}]", "checkpoint=last"])
    return section(
        "A learning curve",
        "Every run folder has one, `learning_curve.png`; this run starts from scratch:",
        commands[-1:],
        out / "learning_curve.png",
        out,
    ) + section(
        "Runs beside each other",
        f"Mean return over seeds, with 95 % bootstrap interval: {returns}. The run above, {names[-1]}, is one of them.",
        [*commands[:-1], together],
        out / "comparison.png",
        out,
    )


def known(out: Path) -> str:
    """The sections of pictures that other commands make."""
    text = section(
        "Bodies", "[Bodies of other sizes](bodies.md):", ["python docs/bodies.py"], ROOT / "docs" / "bodies.png", out
    )
    curves = BENCHMARK / "curves.png"
    if curves.exists():
        where = relative(BENCHMARK / "README.md", out)
        about = f"Return after a number of steps at four new sizes ([tables and conditions]({where})):"
        text += section("Ways to make a size", about, [shown("benchmark", ["env=" + ENV, *COMPARED])], curves, out)
    return text


def section(title: str, about: str, commands: list[str], picture: Path, out: Path) -> str:
    """A heading, a line, a picture and what makes it."""
    lines = "\n".join(f"    {command}" for command in commands)
    return f"## {title}\n\n{about}\n\n![{title}]({relative(picture, out)})\n\n{lines}\n\n"


def shown(verb: str, words: list[str]) -> str:
    """A command as a user types it."""
    return shlex.join(["python", "-m", f"weit_rl.{verb}", *words])


def relative(path: Path, out: Path) -> str:
    """A path as the page, which lies beside the folder of pictures, links to it."""
    return Path(os.path.relpath(path.resolve(), out.resolve().parent)).as_posix()


def main(out: Path) -> Path:
    """Make everything; returns the page.

    Raises:
        UserError: where nothing renders, before anything is made.
    """
    os.environ["MUJOCO_GL"] = working_renderer(f"env={ENV}", PROBE, ENV)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        sections = [act(name, Path(folder), out) for name in ACTING] + [learn(Path(folder), out), known(out)]
    head = f"""# Gallery

See what policies of several sizes do, and make every picture again:

```bash
python docs/gallery.py --out {relative(out, ROOT / "docs")}
```

The first pictures show policies made from the banks that ship, without a gradient step. Below each frame are the step
and the return so far.

"""
    page = out.with_suffix(".md")
    write_atomically(page, (head + "".join(sections)).rstrip().encode() + b"\n")
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gallery")
    try:
        print(main(parser.parse_args().out))
    except UserError as error:
        print(f"docs/gallery.py: error: {error}", file=sys.stderr)
        sys.exit(2)
