"""Set torch's device, CPU threads and precision."""

from __future__ import annotations

from typing import Protocol

import torch

from weit_rl.common.cpu_cores import threads_per_process, user_chose_threads
from weit_rl.common.errors import UserError
from weit_rl.common.process_start import local_rank_and_count
from weit_rl.common.registry import unknown_name_error
from weit_rl.options.choices import PRECISIONS
from weit_rl.options.shared_options import RunOptions


class DeviceOptions(Protocol):
    """Options that name a device.

    Attributes:
        device: ``cpu``, ``cuda`` or ``auto``.
    """

    device: str


def device_of(cfg: DeviceOptions) -> str:
    """Return the device of a config; ``auto`` means a GPU if there is one. UserError for a device that is missing."""
    if cfg.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=cfg.device).item()  # the device "meta" makes a tensor but cannot read it
        return str(cfg.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={cfg.device}: not on this machine; use device=cpu or device=auto") from error


def set_up_torch(cfg: RunOptions) -> None:
    """Set torch's CPU threads to ``cfg.threads``, and its precision of matrix products to ``cfg.precision``.

    Without ``cfg.threads`` torch's default stays, limited to the cores that this process may use.

    Raises:
        UserError: for an unknown precision.
    """
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    elif not user_chose_threads():
        torch.set_num_threads(min(torch.get_num_threads(), threads_per_process(local_rank_and_count()[1])))
    precision = cfg.get("precision", PRECISIONS[0])
    if precision not in PRECISIONS:
        raise unknown_name_error("precision", precision, list(PRECISIONS))
    torch.set_float32_matmul_precision(precision)
    # on a CPU, fused attention with reduced precision takes 15 times as long: it rounds small products one by one
    torch.backends.cuda.enable_flash_sdp(precision != "medium" or device_of(cfg) != "cpu")
