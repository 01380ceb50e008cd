"""Where torch computes, on how many threads and how precisely."""

from __future__ import annotations

from typing import Any

import torch

from weit_rl.common.cpu_cores import threads_of, users_threads
from weit_rl.common.errors import UserError
from weit_rl.common.process_start import local
from weit_rl.common.registry import unknown
from weit_rl.options.choices import PRECISIONS


def device_of(cfg: Any) -> str:
    """``cfg.device`` with ``auto`` decided; raises UserError for a device this machine lacks."""
    if cfg.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=cfg.device).item()  # the device "meta" can make a tensor, but not read it
        return str(cfg.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={cfg.device}: not on this machine; use device=cpu or device=auto") from error


def set_up_torch(cfg: Any) -> None:
    """Let torch use ``cfg.threads`` CPU threads and ``cfg.precision`` for matrix products.

    Without a number of threads torch's own choice stays, but for cores that this process may not use.

    Raises:
        UserError: for a precision torch does not have.
    """
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    elif not users_threads():
        torch.set_num_threads(min(torch.get_num_threads(), threads_of(local()[1])))
    precision = cfg.get("precision", PRECISIONS[0])
    if precision not in PRECISIONS:
        raise unknown("precision", precision, list(PRECISIONS))
    torch.set_float32_matmul_precision(precision)
    # the fused attention of a CPU takes 15 times as long where its small products are rounded one by one
    torch.backends.cuda.enable_flash_sdp(precision != "medium" or device_of(cfg) != "cpu")
