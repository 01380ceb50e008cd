"""What a loss that is no number was computed of, kept in a file to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from weit_rl.storage.tensor_file import write_tensors

FORMAT = "weit_rl batch 1"


def write_batch(path: Path, tasks: Sequence[Any], loss: Callable[[int], Tensor], stage: str, step: int) -> None:
    """Compute the loss of a step once more, and write the batches that its tasks are asked the loss of.

    Args:
        path: the file; tensors are called by the number of the batch and the name in it, ``0.actions``.
        tasks: whose batches they are.
        loss: of a step.
        stage: of the run, for the file's card.
        step: of the stage, from 0 on.
    """
    batches: list[dict[str, Tensor]] = []

    def kept(real: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
        def call(net: Any, batch: dict[str, Tensor]) -> Tensor:
            if not any(batch is one for one in batches):  # several networks may see the same one
                batches.append(batch)
            return real(net, batch)

        return call

    for task in tasks:
        task.loss = kept(task.loss)
    try:
        loss(step)
    finally:
        for task in tasks:
            del task.loss  # the method comes back
    tensors = {f"{number}.{name}": tensor for number, batch in enumerate(batches) for name, tensor in batch.items()}
    write_tensors(path, tensors, {"format": FORMAT, "stage": stage, "step": step})
