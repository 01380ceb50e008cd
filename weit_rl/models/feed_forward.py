"""The feed-forward block that policies share."""

from __future__ import annotations

from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.models.activations import ACTIVATIONS, RELU


class FeedForward(nn.Module):
    """The pre-norm MLP that ends every block, ``x + fc2(activation(fc1(norm2(x))))``.

    A subclass first mixes time steps, then calls this class's ``forward``. Without a subclass it is a whole block.

    Args:
        size: of the network.
        dropout: share of the branch's output that is dropped in training (default 0).
        activation: of the hidden channels, a name in ``ACTIVATIONS`` (default ``"relu"``).
        mixing: the modules that a subclass mixes time steps with, by name.
    """

    def __init__(self, size: Size, dropout: float = 0.0, activation: str = RELU, **mixing: nn.Module):
        super().__init__()
        for name, module in mixing.items():
            self.add_module(name, module)
        self.norm2 = nn.LayerNorm(size.width)
        self.fc1 = nn.Linear(size.width, 4 * size.width)
        self.fc2 = nn.Linear(4 * size.width, size.width)
        self.dropout, self.activation = nn.Dropout(dropout), ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Compute every step by itself; ``(B, T, width) -> (B, T, width)``."""
        return x + self.dropout(self.fc2(self.activation(self.fc1(self.norm2(x)))))
