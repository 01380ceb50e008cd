"""Count the hidden channels of a policy's blocks that have the same value for every input, such as dead ReLUs.

    python -m weit_rl.train env=HalfCheetah size=128x6 scaler_steps=0 train_steps=0 run_dir=RUN
    python -m benchmarks.dead_units.run RUN

The network is the last checkpoint of the run. Its inputs are a sample of the run's data.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks._shared.script import make_parser, run_script
from weit_rl.fitting.layer_inputs import Record
from weit_rl.tasks.control_options import control_task
from weit_rl.training.checkpoint import load_network
from weit_rl.training.run_folder import RunFolder

STILL = 1e-6  # standard deviation below which a channel is constant
LAST = ("fc2", "conv2")  # layers whose inputs are the hidden channels of a block


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("run", type=Path, help="folder of a training run")
    folder = RunFolder.open(parser.parse_args().run)
    task = control_task(folder.config)
    net, _ = load_network(folder.path / "checkpoints" / "last.safetensors")
    print("| layer | hidden channels | of them constant |\n|---|---|---|")
    for name, x in Record(net.eval(), task.run).inputs.items():
        if name.endswith(LAST):
            print(f"| {name} | {x.shape[1]} | {int((x.std(0) < STILL).sum())} |")


if __name__ == "__main__":
    run_script(main)
