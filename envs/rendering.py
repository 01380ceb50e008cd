"""What must be in memory before a renderer is."""

from __future__ import annotations

import contextlib
import importlib


def load_triton_first() -> None:
    """Import triton, where it is installed (torch's CUDA builds bring it, and load it when an optimiser is made).

    A software renderer (Mesa's) and triton each bring an LLVM of their own: triton's, loaded after the renderer's, ends
    the process with a segmentation fault. The other order works.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")
