"""Several processes that train together, joined by Hugging Face Accelerate over torch.distributed.

Accelerate forms the group (NCCL on GPUs, gloo on CPUs), gives every process its device and wraps what is trained in
DistributedDataParallel. It was chosen over Lightning Fabric: with all extras installed it is imported in 0.15 s behind
torch, where Fabric takes 6 s, and it brings one package and not eight.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from weit_rl.common.errors import Elsewhere, Follows, UserError
from weit_rl.common.process_start import local, ours
from weit_rl.training.batch_shards import BatchShards, ShardedTask
from weit_rl.training.checkpoint import save_training
from weit_rl.training.process_group import Devices, Loss, Made

WAIT = timedelta(hours=1)  # for a process that hangs; one that ends is noticed at once
APART = 2**40  # of the seeds of two processes: more than any training has steps


class Ranks(Devices):
    """This process and those beside it that torchrun, or a command of ours, started.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.

    Raises:
        UserError: without Accelerate, or where there are fewer GPUs than processes.
    """

    def __init__(self, device: str):
        cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
        check_gpus(device, 0 if cpu else local()[1])
        self._accelerator = _accelerator(cpu)
        self.count, self.rank = self._accelerator.num_processes, self._accelerator.process_index
        self._parent = os.getppid()
        self._shards = BatchShards(self.rank, self.count)

    def shard(self, task: Any) -> Any:
        """Wrap a task, so that it draws this process's shard of every batch inside :meth:`sharding`."""
        return ShardedTask(task, self._shards)

    @contextmanager
    def sharding(self) -> Iterator[None]:
        """Let sharded tasks draw shards inside this context; outside they draw whole batches."""
        with self._shards.sharding():
            yield

    def step(self, module: nn.Module, loss: Loss) -> Loss:
        """The loss under DistributedDataParallel, which reduces every parameter's gradient once, when it is whole."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.14 has another name for broadcast_buffers
            return self._accelerator.prepare_model(_Step(module, loss))  # type: ignore[no-any-return]

    def seed(self, step: int) -> int:
        """Of what a network draws in a step, such as dropout: another one in every process."""
        return step + self.rank * APART

    def mean(self, value: Tensor) -> Tensor:
        """A number's mean over the processes."""
        return self._accelerator.reduce(value, reduction="mean")  # type: ignore[return-value]

    def stopped(self, number: int) -> int:
        """The number of the signal by which any was asked to stop; the end of the command that started them is one."""
        orphaned = ours() and os.getppid() != self._parent
        return self._most(number or (signal.SIGTERM if orphaned else 0))

    def told(self, text: str) -> str:
        """The text of the process that leads."""
        texts = [text]
        dist.broadcast_object_list(texts, src=0, device=self._accelerator.device)
        return texts[0]

    def together(self, call: Callable[[], Made]) -> Made:
        """What a call gives in this process; where it raises UserError in one of them, all end, and one says why."""
        failed: UserError | None = None
        try:
            made = call()
        except UserError as error:
            failed = error
        first = self.count - self._most(self.count - self.rank if failed else 0)  # count where none failed
        if failed and first == self.rank:
            raise failed if self.leads else Elsewhere(f"process {self.rank} of {self.count}: {failed}") from failed
        if first < self.count:
            raise Follows(2)
        return made

    def wait(self) -> None:
        """Until all processes are here."""
        self._accelerator.wait_for_everyone()

    def lost(self, error: BaseException | None) -> bool:
        """Whether an error tells that another process has ended: gloo's are RuntimeErrors that name it."""
        return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in f"{error}")

    def save(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write the state a stopped stage goes on from, in the process that leads."""
        if self.leads:
            save_training(path, module, optimizer, step)

    def restore(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
        """Read it in every process, first in the one that leads, which puts a damaged one right."""
        with self._accelerator.main_process_first():
            return super().restore(path, module, optimizer)

    def _most(self, number: int) -> int:
        numbers = torch.tensor([number], device=self._accelerator.device)
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)


class _Step(nn.Module):
    """The loss of a step as the forward of a module, which is what DistributedDataParallel reduces gradients of."""

    def __init__(self, module: nn.Module, loss: Loss):
        super().__init__()
        self.module, self._loss = module, loss

    def forward(self, step: int) -> Tensor:
        return self._loss(step)


def check_gpus(device: str, processes: int) -> None:
    """UserError where the processes of this machine want more GPUs than there are, or one by its number."""
    if processes and device not in ("auto", "cuda"):
        raise UserError(f"device={device}: is one device, not {processes}; use device=cuda or device=cpu")
    if processes > torch.cuda.device_count():
        raise UserError(
            f"trainer.devices: {processes} processes need a GPU each, here are {torch.cuda.device_count()}; "
            "use fewer, or device=cpu"
        )


def check_library() -> None:
    """UserError without Accelerate."""
    from importlib.util import find_spec

    if find_spec("accelerate") is None:
        raise UserError(
            "training in several processes needs Hugging Face Accelerate: pip install 'weit_rl[distributed]'"
        )


def _accelerator(cpu: bool) -> Any:
    check_library()
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

    # several bodies take turns, so a step may leave parameters out; buffers are the same everywhere
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)]
    return Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[*handlers, InitProcessGroupKwargs(timeout=WAIT)])
