"""Hidden channels of a policy's blocks that say the same whatever it sees: what ReLUs leave that have died.

    python -m weit_rl.train env=HalfCheetah size=128x6 scaler_steps=0 train_steps=0 run_dir=RUN
    python benchmarks/dead_units.py RUN

The network is the run's last one, what it sees a sample of the run's data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from weit_rl.fitting.layer_inputs import Record
from weit_rl.tasks.control_options import control_task
from weit_rl.training.checkpoint import load_network
from weit_rl.training.run_folder import RunFolder

STILL = 1e-6  # standard deviation below which a channel does not move
LAST = ("fc2", "conv2")  # layers of a block that read its hidden channels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    folder = RunFolder.open(parser.parse_args().run)
    task = control_task(folder.config)
    net, _ = load_network(folder.path / "checkpoints" / "last.safetensors")
    print("| layer | hidden channels | of them still |\n|---|---|---|")
    for name, x in Record(net.eval(), task.run).inputs.items():
        if name.endswith(LAST):
            print(f"| {name} | {x.shape[1]} | {int((x.std(0) < STILL).sum())} |")


if __name__ == "__main__":
    main()
