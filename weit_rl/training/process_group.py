"""Describe the processes that train one network together, one per device, for the loop and the run folder.

:class:`ProcessGroup` is a single process. Several processes are :class:`weit_rl.training.ddp_group.DDPGroup`. This file
does not import torch at once, since commands open run folders before they load torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Made = TypeVar("Made")
Loss = Callable[[int], "Tensor"]


class ProcessGroup:
    """A single process that trains alone; the base of groups of several.

    Attributes:
        count: number of processes.
        rank: number of this process, from 0 on.
    """

    count, rank = 1, 0

    @property
    def leads(self) -> bool:
        """Return True in the one process that writes files, prints and evaluates."""
        return self.rank == 0

    def shard_task(self, task: Any) -> Any:
        """Return a task that draws this process's shard of every batch inside :meth:`sharding`."""
        return task

    @contextmanager
    def sharding(self) -> Iterator[None]:
        """Let sharded tasks draw shards inside this context; outside they draw whole batches."""
        yield

    def wrap_loss(self, module: nn.Module, loss: Loss) -> Loss:
        """Return a loss whose backward leaves the gradient of the whole batch in the parameters of ``module``."""
        return loss

    def step_seed(self, step: int) -> int:
        """Return the seed of a step's random numbers, such as dropout; every process has its own."""
        return step

    def mean(self, value: Tensor) -> Tensor:
        """Average a number over the processes."""
        return value

    def any_signal(self, number: int) -> int:
        """Return the signal that stops any of the processes, 0 for none; ``number`` is this process's own."""
        return number

    def broadcast(self, text: str) -> str:
        """Return the text of the process that leads."""
        return text

    def call_in_all(self, call: Callable[[], Made]) -> Made:
        """Call a function in every process, and end all of them if one raises UserError.

        Args:
            call: the function, without arguments.

        Returns:
            What the function returns in this process.

        Raises:
            UserError: in one process where the function raised it.
            Follows: in all other processes then.
        """
        return call()

    def wait(self) -> None:
        """Wait until all processes are here."""

    def is_lost_process(self, error: BaseException | None) -> bool:
        """Return True if an error means that another process has ended."""
        return False

    def shard_network(self, net: nn.Module) -> nn.Module:
        """Return the module to train in place of a plain network; the network itself if no process shards it."""
        return net

    def gather(self, trained: nn.Module, net: nn.Module) -> None:
        """Copy the weights of the module that :meth:`shard_network` gave back into the network."""

    def clip_gradients(self, parameters: Sequence[Tensor], clip: float) -> Tensor:
        """Clip the norm of the gradients; returns the norm before."""
        from torch.nn.utils import clip_grad_norm_

        return clip_grad_norm_(parameters, clip)

    def save(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write the state to resume from, see :func:`weit_rl.training.checkpoint.save_training`."""
        from weit_rl.training.checkpoint import save_training

        save_training(path, module, optimizer, step)

    def restore(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
        """Read the state to resume from, see :func:`weit_rl.training.checkpoint.load_training`."""
        from weit_rl.training.checkpoint import load_training

        return load_training(path, module, optimizer)

    def fill_optimizer(self, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
        """Fill an optimiser's state, see :func:`weit_rl.training.checkpoint.fill_optimizer`."""
        from weit_rl.training.checkpoint import fill_optimizer

        fill_optimizer(optimizer, tensors)


SINGLE_PROCESS = ProcessGroup()
