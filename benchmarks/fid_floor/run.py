"""Measure the FID of the training images against the test images: the lowest FID that drawn images can reach.

    python -m benchmarks.fid_floor.run RUN [--samples 500] [--draws 3]

RUN is the classifier whose features judge images: a run of ``python -m weit_rl.vision task=classification`` on digits,
such as the folder ``sources/judge`` of a comparison.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._shared.script import make_parser, run_script
from weit_rl.options.command import compose
from weit_rl.tasks import task_entry
from weit_rl.tasks.sample_quality import classifier, compare_features


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("run", help="folder of a classification run")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--draws", type=int, default=3)
    arguments = parser.parse_args()
    task = task_entry("diffusion").make(compose("vision", ["task=diffusion", "model=dit"]))
    judge, name = classifier(arguments.run)

    def features(part: Any) -> Tensor:
        return torch.cat([judge(torch.from_numpy(some.pixels)) for some in part.chunks(256, 0)])

    test, train = features(task.images.test), features(task.images.train)
    print(f"{arguments.samples} of {len(train)} training images against {len(test)} of the test, by {name}")
    for seed in range(arguments.draws):
        chosen = np.random.default_rng(seed).permutation(len(train))[: arguments.samples]
        print("  ".join(f"{key} {value:.3f}" for key, value in compare_features(test, train[chosen]).items()))


if __name__ == "__main__":
    run_script(main)
