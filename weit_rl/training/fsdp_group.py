"""Processes that each hold a part of a plain network in training: its weights, their gradients and AdamW's moments.

Accelerate shards on GPUs alone, so this is torch's own ``fully_shard`` (FSDP2), which does on CPUs, too.
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
from weit_rl.training.ddp_group import Ranks
from weit_rl.training.process_group import Loss


class Parts(Ranks):
    """Like :class:`Ranks`, but for the training of plain networks; files hold whole tensors all the same."""

    def parted(self, net: nn.Module) -> nn.Module:
        """A copy of the network of which this process holds its part, block by block."""
        net = copy.deepcopy(net)
        mesh = init_device_mesh(self._accelerator.device.type, (self.count,))
        for block in (*blocks(net), net):
            fully_shard(block, mesh=mesh)
        return net

    @torch.no_grad()
    def gather(self, trained: nn.Module, net: nn.Module) -> None:
        """Bring the weights of what :meth:`parted` gave back into the network, whole in every process."""
        if trained is not net:
            net.load_state_dict({name: _whole(tensor) for name, tensor in trained.state_dict().items()})

    def step(self, module: nn.Module, loss: Loss) -> Loss:
        """The loss itself where the module reduces its gradients, else as of :class:`Ranks`."""
        return loss if isinstance(module, FSDPModule) else super().step(module, loss)

    def norm(self, parameters: Sequence[Tensor], clip: float) -> Tensor:
        """Clip the norm of the gradients of all parts together; returns what it was."""
        return _whole(super().norm(parameters, clip))

    def save(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write the state whole, in the process that leads, one tensor after the other."""
        kept = {}
        for name, tensor in training_tensors(module, optimizer).items():
            tensor = _whole(tensor)
            if self.leads:
                kept[name] = tensor.cpu()
        if self.leads:
            write_training(path, kept, step)

    def restore(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
        """Read it, and keep this process's part."""
        with self._accelerator.main_process_first():
            stored = read_training(path)
        if stored is None:
            return None
        tensors, card = stored
        return fill_training(path, module, optimizer, _spread(tensors, module.state_dict(), optimizer), card)

    def fill(self, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
        """Give an optimiser this process's part of its state."""
        super().fill(optimizer, _spread(tensors, {}, optimizer))


def blocks(net: nn.Module) -> Iterator[nn.Module]:
    """The modules in a network's lists, which run one after the other and are gathered so."""
    for child in net.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from (block for block in child if any(True for _ in block.parameters()))
        else:
            yield from blocks(child)


def _spread(tensors: Mapping[str, Tensor], module: Mapping[str, Tensor], optimizer: Any) -> dict[str, Tensor]:
    """The parts of a state's tensors, divided as what they belong to; ``module`` is the module's own state."""
    owners = {f"module.{name}": tensor for name, tensor in module.items()}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    spread = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        owner = owners.get(name) if kind == "module" else parameters[int(rest.split(".")[0])]
        if isinstance(owner, DTensor) and owner.shape == tensor.shape:
            tensor = distribute_tensor(tensor.to(owner.device), owner.device_mesh, owner.placements)
        spread[name] = tensor
    return spread


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
