"""Write the batch whose loss is not finite to a file, so that a user can look at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from weit_rl.storage.tensor_file import write_tensors

FORMAT = "weit_rl batch 1"


def write_batch(path: Path, tasks: Sequence[Any], loss: Callable[[int], Tensor], stage: str, step: int) -> None:
    """Compute the loss of a step again, and write the batches that it reads.

    Args:
        path: the file; a tensor's name is the number of its batch and its name there, such as ``0.actions``.
        tasks: the tasks that draw the batches.
        loss: computes the loss of a step.
        stage: name of the stage, for the file's card.
        step: step of the stage, from 0 on.
    """
    batches: list[dict[str, Tensor]] = []

    def recorded(real: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
        def call(net: Any, batch: dict[str, Tensor]) -> Tensor:
            if not any(batch is one for one in batches):  # several networks may see the same batch
                batches.append(batch)
            return real(net, batch)

        return call

    for task in tasks:
        task.loss = recorded(task.loss)
    try:
        loss(step)
    finally:
        for task in tasks:
            del task.loss  # uncovers the task's method again
    tensors = {f"{number}.{name}": tensor for number, batch in enumerate(batches) for name, tensor in batch.items()}
    write_tensors(path, tensors, {"format": FORMAT, "stage": stage, "step": step})
