"""Train one network in several processes, by Hugging Face Accelerate over torch.distributed.

Accelerate forms the group (NCCL on GPUs, gloo on CPUs), gives every process its device, and wraps the module in
DistributedDataParallel. Accelerate is one package and imports in 0.15 s after torch. Lightning Fabric would be eight
packages and 6 s.
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

from weit_rl.common.errors import PeerError, QuietExit, UserError
from weit_rl.common.process_start import local_rank_and_count, started_by_command
from weit_rl.training.batch_shards import BatchShards, ShardedTask
from weit_rl.training.checkpoint import save_training
from weit_rl.training.process_group import Loss, Made, ProcessGroup

WAIT = timedelta(hours=1)  # until a process that hangs is given up; one that ends is noticed at once
SEED_DISTANCE = 2**40  # between the seeds of two processes: more than any training has steps


class DDPGroup(ProcessGroup):
    """The processes that torchrun or one of our commands started; each holds the whole network.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.

    Raises:
        UserError: if Accelerate is missing, or there are fewer GPUs than processes.
    """

    def __init__(self, device: str):
        cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
        check_gpus(device, 0 if cpu else local_rank_and_count()[1])
        self._accelerator = _accelerator(cpu)
        self.count, self.rank = self._accelerator.num_processes, self._accelerator.process_index
        self._parent = os.getppid()
        self._shards = BatchShards(self.rank, self.count)

    def shard_task(self, task: Any) -> Any:
        """Wrap a task, so that it draws this process's shard of every batch inside :meth:`sharding`."""
        return ShardedTask(task, self._shards)

    @contextmanager
    def sharding(self) -> Iterator[None]:
        """Let sharded tasks draw shards inside this context; outside they draw whole batches."""
        with self._shards.sharding():
            yield

    def wrap_loss(self, module: nn.Module, loss: Loss) -> Loss:
        """Wrap the loss in DistributedDataParallel, which reduces every parameter's complete gradient once."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.14 renamed broadcast_buffers
            return self._accelerator.prepare_model(_LossModule(module, loss))  # type: ignore[no-any-return]

    def step_seed(self, step: int) -> int:
        """Return the seed of a step's random numbers, such as dropout; every process has its own."""
        return step + self.rank * SEED_DISTANCE

    def mean(self, value: Tensor) -> Tensor:
        """Average a number over the processes."""
        return self._accelerator.reduce(value, reduction="mean")  # type: ignore[return-value]

    def any_signal(self, number: int) -> int:
        """Return the signal that stops any of the processes, 0 for none.

        The end of the command that started the processes counts as SIGTERM.
        """
        orphaned = started_by_command() and os.getppid() != self._parent
        return self._maximum(number or (signal.SIGTERM if orphaned else 0))

    def broadcast(self, text: str) -> str:
        """Return the text of the process that leads."""
        texts = [text]
        dist.broadcast_object_list(texts, src=0, device=self._accelerator.device)
        return texts[0]

    def call_in_all(self, call: Callable[[], Made]) -> Made:
        """Call a function in every process; if it raises UserError in any, all processes end.

        The first process that failed gives the reason; all others raise Follows.
        """
        failed: UserError | None = None
        try:
            made = call()
        except UserError as error:
            failed = error
        first = self.count - self._maximum(self.count - self.rank if failed else 0)  # equals count if none failed
        if failed and first == self.rank:
            raise failed if self.leads else PeerError(f"process {self.rank} of {self.count}: {failed}") from failed
        if first < self.count:
            raise QuietExit(2)
        return made

    def wait(self) -> None:
        """Wait until all processes are here."""
        self._accelerator.wait_for_everyone()

    def is_lost_process(self, error: BaseException | None) -> bool:
        """Return True if an error means that another process has ended; gloo raises RuntimeErrors that name it."""
        return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in f"{error}")

    def save(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write the state to resume from, in the process that leads."""
        if self.leads:
            save_training(path, module, optimizer, step)

    def restore(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
        """Read the state to resume from in every process; the one that leads is first and replaces a damaged state."""
        with self._accelerator.main_process_first():
            return super().restore(path, module, optimizer)

    def _maximum(self, number: int) -> int:
        numbers = torch.tensor([number], device=self._accelerator.device)
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)


class _LossModule(nn.Module):
    """A module whose forward is the loss of a step, as DistributedDataParallel needs it."""

    def __init__(self, module: nn.Module, loss: Loss):
        super().__init__()
        self.module, self._loss = module, loss

    def forward(self, step: int) -> Tensor:
        return self._loss(step)


def check_gpus(device: str, processes: int) -> None:
    """Check that every process of this machine can have a GPU.

    Args:
        device: the device that the config asks for.
        processes: number of processes that need a GPU; 0 on CPUs.

    Raises:
        UserError: if the config asks for one numbered device, or there are fewer GPUs than processes.
    """
    if processes and device not in ("auto", "cuda"):
        raise UserError(f"device={device}: is one device, not {processes}; use device=cuda or device=cpu")
    if processes > torch.cuda.device_count():
        raise UserError(
            f"trainer.devices: {processes} processes need a GPU each, here are {torch.cuda.device_count()}; "
            "use fewer, or device=cpu"
        )


def check_library() -> None:
    """Raise UserError if Accelerate is missing."""
    from importlib.util import find_spec

    if find_spec("accelerate") is None:
        raise UserError(
            "training in several processes needs Hugging Face Accelerate: pip install 'weit_rl[distributed]'"
        )


def _accelerator(cpu: bool) -> Any:
    check_library()
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

    # several bodies take turns, so a step may not use all parameters; buffers are the same in all processes
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)]
    return Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[*handlers, InitProcessGroupKwargs(timeout=WAIT)])
