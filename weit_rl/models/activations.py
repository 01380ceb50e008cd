"""The activations that a policy's blocks can have."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

RELU = "relu"
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {RELU: F.relu, "gelu": F.gelu, "silu": F.silu}
