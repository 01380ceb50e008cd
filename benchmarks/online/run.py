"""Compare going on online from a bank with Stable-Baselines3's own policy: environment steps to a return.

    export OMP_NUM_THREADS=1
    python -m benchmarks.online.run run [--part 0/2]
    python -m benchmarks.online.run table

SAC in HalfCheetah with Stable-Baselines3's hyperparameters. The actor of 64 x 2 has about as many weights as the two
layers of 256 of ``"MlpPolicy"``; the critics are the same. All returns are those of the deterministic policy on the
same validation episodes. ``without imitation`` is the control: only the critics' first steps protect its actor. The
table leaves out curves that are not finished.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks._shared.result_page import with_command
from benchmarks._shared.script import add_out, add_part, make_parser, run_script
from weit_rl.agents.online import ALGORITHMS, environments
from weit_rl.agents.recording import AgentActor, episode_statistics, play
from weit_rl.common.seeds import VALIDATION
from weit_rl.comparison.runs import finish_training
from weit_rl.comparison.statistics import mean
from weit_rl.comparison.tables import Table
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.storage.atomic_write import write_atomically
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.online_stage import PARTS

ENV, AGENT, SIZE, STEPS, EPISODES, SEEDS = "HalfCheetah", "sac", "64x2", 20_000, 5, (0, 1, 2)
GOALS = (1000, 3000, 5000, 9000, 10000, 10500)
BANK = ["init=weit", "scaler_steps=300", "train_steps=0"]
OURS = {
    "from the bank": BANK,
    "from the bank, without imitation": [*BANK, "imitation=0"],
    "the same network, fresh": ["init=scratch", "train_steps=0"],
}
THEIRS = "MlpPolicy"
Curve = list[tuple[int, float]]  # environment steps, return


def ours(words: list[str], seed: int, folder: Path) -> Curve:
    """Train a policy of ours; return its validation returns by environment steps."""
    common = [f"env={ENV}", "model=mlp", f"agent={AGENT}", f"size={SIZE}", f"agent_steps={STEPS}", f"seed={seed}"]
    common += [f"validation_episodes={EPISODES}", "episodes=20", "threads=1"]
    report = finish_training(folder, compose("train", [*common, *words]))
    offline = report["scaler_steps"] + report["train_steps"]
    points = RunFolder.open(folder).metrics()["validation/return"]
    return [(step - offline, value) for step, value in points if step >= offline]


def theirs(seed: int, folder: Path) -> Curve:
    """Train Stable-Baselines3's own policy; return its validation returns by environment steps."""
    path, entry = folder / "curve.json", env_entry(ENV)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        agent = ALGORITHMS[AGENT](THEIRS, environments(entry, 1), seed=seed, device="cpu")
        first = VALIDATION.of(seed)
        points: Curve = []
        for part in range(PARTS + 1):
            if part:
                agent.learn(STEPS // PARTS, reset_num_timesteps=False, log_interval=1000)
            episodes = play(AgentActor(agent, deterministic=True), entry, range(first, first + EPISODES))
            points.append((agent.num_timesteps, episode_statistics(episodes)["return_mean"]))
        write_atomically(path, json.dumps(points).encode())
    return [(int(step), float(value)) for step, value in json.loads(path.read_text())]


def jobs(out: Path) -> dict[tuple[str, int], Callable[[], Curve]]:
    """Return the jobs of all curves, by name and seed."""
    made: dict[tuple[str, int], Callable[[], Curve]] = {}
    for seed in SEEDS:
        for name, words in OURS.items():
            place = place_of(out, name, seed)
            made[name, seed] = lambda words=words, seed=seed, place=place: ours(words, seed, place)  # type: ignore[misc]
        made[THEIRS, seed] = lambda seed=seed: theirs(seed, place_of(out, THEIRS, seed))  # type: ignore[misc]
    return made


def place_of(out: Path, name: str, seed: int) -> Path:
    """Return the folder of a curve's run."""
    return out / "runs" / f"{name.replace(' ', '-').replace(',', '')}-{seed}"


def is_finished(place: Path) -> bool:
    """Return True if the run of a curve is finished."""
    return any((place / name).exists() for name in ("curve.json", "evaluation.json"))


def reached(curve: Curve, goal: float) -> float:
    """Return the environment steps until a curve reaches a return; infinity if it never does."""
    return next((float(step) for step, value in curve if value >= goal), float("inf"))


def row(name: str, curves: list[Curve]) -> list[str]:
    """Format a row: lowest return, last return, and the median steps to each goal."""
    least = mean([[min(value for _, value in curve) for curve in curves]]).text()
    last = mean([[curve[-1][1] for curve in curves]]).text()
    steps = [float(np.median([reached(curve, goal) for curve in curves])) for goal in GOALS]
    return [name, str(len(curves)), least, last, *("not" if np.isinf(step) else f"{step:,.0f}" for step in steps)]


def draw(curves: dict[str, list[Curve]], path: Path) -> None:
    """Draw returns against environment steps: a thin line for each seed, a thick one for their mean."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, own) in enumerate(curves.items()):
        for curve in own:
            axes.plot(*zip(*curve, strict=True), color=f"C{number}", alpha=0.3, lw=1)
        steps, values = [step for step, _ in own[0]], np.mean([[value for _, value in curve] for curve in own], axis=0)
        axes.plot(steps, values, color=f"C{number}", lw=2, label=f"{name} ({len(own)} seeds)")
    axes.set(xlabel="environment steps", ylabel=f"validation return ({EPISODES} episodes)")
    axes.grid(alpha=0.25)
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["run", "table"])
    add_out(parser, Path(__file__).parent)
    add_part(parser)
    arguments = parser.parse_args()
    work = jobs(arguments.out)
    if arguments.what == "run":
        number, parts = arguments.part
        for job in list(work.values())[number::parts]:
            job()
        return
    curves = {key: job() for key, job in work.items() if is_finished(place_of(arguments.out, *key))}
    found: dict[str, list[Curve]] = {}
    for (name, _), curve in curves.items():
        found.setdefault(name, []).append(curve)
    draw(found, arguments.out / "curves.png")
    header = ["actor", "seeds", "least return", f"return after {STEPS:,}", *(f"steps to {goal:,}" for goal in GOALS)]
    lines = [row(name, found[name]) for name in (*OURS, THEIRS) if name in found]
    every = f"{EPISODES} validation episodes every {STEPS // PARTS:,} steps"
    note = f"SAC, {ENV}, {every}; means of the seeds, steps: medians."
    text = Table("Online from a bank", header, lines, note).markdown()
    text = with_command(text, "python -m benchmarks.online.run run|table")
    (arguments.out / "README.md").write_text(f"{text}\n![Returns](curves.png)\n")
    print(text)


if __name__ == "__main__":
    run_script(main)
