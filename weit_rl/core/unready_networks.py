"""Checks for networks that cannot be composed yet: parameters without shapes or values, or weights made by hooks."""

from __future__ import annotations

from torch import nn
from torch.nn.parameter import UninitializedParameter

from weit_rl.common.errors import UserError

HOOKED = ("_v", "_orig")  # suffixes that torch's older weight_norm, its spectral_norm and pruning give a weight


def refuse_unready(net: nn.Module) -> None:
    """Refuse a network with uninitialised parameters, or with weights that a hook makes.

    Raises:
        UserError: naming the parameter, and what to call first.
    """
    for name, module in net.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            where = f"parameter {name}.{leaf}".replace(" .", " ")
            if isinstance(parameter, UninitializedParameter):
                raise UserError(f"{where}: has no shape yet; call the network once on an example first")
            made = next((leaf.removesuffix(end) for end in HOOKED if leaf.endswith(end)), leaf)
            if made != leaf and made in vars(module):
                raise UserError(
                    f"{where}: a hook makes the {made} of it, which cannot be copied; use weight_norm or spectral_norm "
                    "of torch.nn.utils.parametrizations, or make it permanent (remove_weight_norm, prune.remove)"
                )


def refuse_meta(net: nn.Module, bank: nn.Module) -> None:
    """Refuse a network on the meta device, unless the bank is there too.

    Raises:
        UserError: naming the parameter, and what to call first.
    """
    name = next((name for name, parameter in net.named_parameters() if parameter.is_meta), None)
    if name is not None and not any(template.is_meta for template in bank.parameters()):
        raise UserError(
            f'parameter {name}: is on the meta device and has no values; call net.to_empty(device="cpu") and '
            "initialise or load its weights first"
        )
