"""Train a plain network in several processes that each hold a shard of its weights, gradients and optimiser state.

This uses torch's own ``fully_shard`` (FSDP2), which also works on CPUs. Accelerate shards on GPUs only.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from weit_rl.training.checkpoint import fill_training, read_training, training_tensors, write_training
from weit_rl.training.ddp_group import DDPGroup
from weit_rl.training.process_group import Loss


class FSDPGroup(DDPGroup):
    """A group that shards plain networks in training.

    Files hold whole tensors. Composed networks are trained as by :class:`DDPGroup`.
    """

    def shard_network(self, net: nn.Module) -> nn.Module:
        """Copy a network and keep this process's shard of every block."""
        net = copy.deepcopy(net)
        mesh = init_device_mesh(self._accelerator.device.type, (self.count,))
        for block in (*blocks(net), net):
            fully_shard(block, mesh=mesh)
        return net

    @torch.no_grad()
    def gather(self, trained: nn.Module, net: nn.Module) -> None:
        """Copy the whole weights of a sharded network back into the plain network, in every process."""
        if trained is not net:
            net.load_state_dict({name: _whole(tensor) for name, tensor in trained.state_dict().items()})

    def wrap_loss(self, module: nn.Module, loss: Loss) -> Loss:
        """Return the loss of a sharded module as it is: FSDP reduces the gradients. Wrap other losses as under DDP."""
        return loss if isinstance(module, FSDPModule) else super().wrap_loss(module, loss)

    def clip_gradients(self, parameters: Sequence[Tensor], clip: float) -> Tensor:
        """Clip the norm of the whole gradient; returns the norm before."""
        return _whole(super().clip_gradients(parameters, clip))

    def save(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write the state to resume from in the process that leads, gathering one tensor at a time."""
        whole = {}
        for name, tensor in training_tensors(module, optimizer).items():
            tensor = _whole(tensor)
            if self.leads:
                whole[name] = tensor.cpu()
        if self.leads:
            write_training(path, whole, step)

    def restore(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
        """Read the state to resume from, and keep this process's shard."""
        with self._accelerator.main_process_first():
            stored = read_training(path)
        if stored is None:
            return None
        tensors, card = stored
        return fill_training(path, module, optimizer, _sharded(tensors, module.state_dict(), optimizer), card)

    def fill_optimizer(self, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
        """Fill an optimiser with this process's shard of a state."""
        super().fill_optimizer(optimizer, _sharded(tensors, {}, optimizer))


def blocks(net: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules with parameters in a network's module lists, which run one after the other."""
    for child in net.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from (block for block in child if any(True for _ in block.parameters()))
        else:
            yield from blocks(child)


def _sharded(tensors: Mapping[str, Tensor], module: Mapping[str, Tensor], optimizer: Any) -> dict[str, Tensor]:
    """Shard the tensors of a training state in the way the module and the optimiser are sharded.

    Args:
        tensors: whole tensors by their names in a training state.
        module: the module's own state dict.
        optimizer: the optimiser of its parameters.
    """
    owners = {f"module.{name}": tensor for name, tensor in module.items()}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    sharded = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        owner = owners.get(name) if kind == "module" else parameters[int(rest.split(".")[0])]
        if isinstance(owner, DTensor) and owner.shape == tensor.shape:
            tensor = distribute_tensor(tensor.to(owner.device), owner.device_mesh, owner.placements)
        sharded[name] = tensor
    return sharded


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
