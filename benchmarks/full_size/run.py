"""Measure what the constraint costs at full size: the bank's network (128 x 6) against a direct one at equal FLOPs.

    python -m benchmarks.full_size.run [--bank PATH]

Pre-training also trains sub-networks. The direct network gets the FLOPs of these as further steps of its own.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks._shared.result_page import with_command
from benchmarks._shared.script import add_out, make_parser, run_script
from weit_rl.common.sizes import Size
from weit_rl.comparison.runs import finish_training
from weit_rl.comparison.tables import Table
from weit_rl.core.bank import TemplateBank
from weit_rl.models.shipped_banks import BANKS
from weit_rl.options.command import compose
from weit_rl.training.flops import step_flops
from weit_rl.workflows.pretrain_run import PretrainRun


def step_ratio(config: dict) -> float:
    """Return the FLOPs of an average pre-training step over those of a direct step of the full network."""
    run = PretrainRun(compose("pretrain"))
    net = run.task.build(Size.parse(config["size"]))
    direct = step_flops(net, lambda step: run.task.loss(net, run.task.batch(step)))
    return run.flops() / run.cfg.steps / direct


def main() -> None:
    parser = make_parser(__doc__)
    add_out(parser, Path(__file__).parent)
    parser.add_argument("--bank", type=Path, default=BANKS / "HalfCheetah.safetensors")
    arguments = parser.parse_args()
    config = TemplateBank.load(arguments.bank).card["config"]
    ratio = step_ratio(config)
    steps = round(config["steps"] * ratio)
    jobs = {
        "constrained, the bank with 0 further steps": [f"bank={arguments.bank}", "scaler_steps=0", "train_steps=0"],
        f"direct, {steps} steps": ["init=scratch", f"train_steps={steps}"],
        f"direct, {steps} steps, dropout as the bank's": [
            "init=scratch",
            f"train_steps={steps}",
            f"dropout={config['dropout']}",
        ],
    }
    common = [f"size={config['size']}", f"data={config['data']}", "validation_episodes=0"]
    rows = {
        name: finish_training(arguments.out / "runs" / str(number), compose("train", [*common, *words]))
        for number, (name, words) in enumerate(jobs.items())
    }
    columns = ("return_mean", "return_std", "return_median")
    lines = [[name, *(f"{row[key]:,.0f}" for key in columns), f"{row['seconds']:.0f}"] for name, row in rows.items()]
    ours, *direct = (row["return_mean"] for row in rows.values())
    note = f"One pre-training step costs {ratio:.2f} direct steps. Constrained over the better direct one: "
    header = [str(config["size"]), "return", "+-", "median", "seconds"]
    table = Table("The full size at equal FLOPs", header, lines, f"{note}{ours / max(direct):.3f}.")
    text = with_command(table.markdown(), "python -m benchmarks.full_size.run")
    (arguments.out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    run_script(main)
