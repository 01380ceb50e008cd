"""The processes that train together, one on each device. The loop knows them as :class:`Devices`.

With one process nothing of it does anything; several are :class:`weit_rl.training.ddp_group.Ranks`. A run folder knows
them too, and is looked into before torch is loaded.
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


class Devices:
    """A process that trains alone.

    Attributes:
        count: processes that train together.
        rank: this one's number, from 0 on.
    """

    count, rank = 1, 0

    @property
    def leads(self) -> bool:
        """Whether this process writes, prints and judges, as one of several does."""
        return self.rank == 0

    def shard(self, task: Any) -> Any:
        """Return a task that draws this process's shard of every batch inside :meth:`sharding`."""
        return task

    @contextmanager
    def sharding(self) -> Iterator[None]:
        """Let sharded tasks draw shards inside this context; outside they draw whole batches."""
        yield

    def step(self, module: nn.Module, loss: Loss) -> Loss:
        """The loss of a step whose backward leaves the gradients of the whole batch in the parameters of ``module``."""
        return loss

    def seed(self, step: int) -> int:
        """Of what a network draws in a step, such as dropout: another one in every process."""
        return step

    def mean(self, value: Tensor) -> Tensor:
        """A number's mean over the processes."""
        return value

    def stopped(self, number: int) -> int:
        """The number of the signal by which any of the processes was asked to stop, 0 for none."""
        return number

    def told(self, text: str) -> str:
        """The text of the process that leads."""
        return text

    def together(self, call: Callable[[], Made]) -> Made:
        """What a call gives in this process; where it raises UserError in one of them, all end."""
        return call()

    def wait(self) -> None:
        """Until all processes are here."""

    def lost(self, error: BaseException | None) -> bool:
        """Whether an error tells that another process has ended."""
        return False

    def parted(self, net: nn.Module) -> nn.Module:
        """What is trained in the place of a plain network; the network itself, where every process holds it whole."""
        return net

    def gather(self, trained: nn.Module, net: nn.Module) -> None:
        """Bring the weights of what :meth:`parted` gave back into the network."""

    def norm(self, parameters: Sequence[Tensor], clip: float) -> Tensor:
        """Clip the gradients' norm; returns what it was."""
        from torch.nn.utils import clip_grad_norm_

        return clip_grad_norm_(parameters, clip)

    def save(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write the state a stopped stage goes on from, see :func:`weit_rl.training.checkpoint.save_training`."""
        from weit_rl.training.checkpoint import save_training

        save_training(path, module, optimizer, step)

    def restore(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
        """Read it, see :func:`weit_rl.training.checkpoint.load_training`."""
        from weit_rl.training.checkpoint import load_training

        return load_training(path, module, optimizer)

    def fill(self, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
        """Give an optimiser its state, see :func:`weit_rl.training.checkpoint.fill_optimizer`."""
        from weit_rl.training.checkpoint import fill_optimizer

        fill_optimizer(optimizer, tensors)


ALONE = Devices()
