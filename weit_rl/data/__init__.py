"""Data: offline trajectories, the readers of their file formats, and the windows cut from them."""

from typing import TYPE_CHECKING, Any

from weit_rl.data.readers import load_trajectories
from weit_rl.data.trajectories import Statistics, Trajectories

if TYPE_CHECKING:
    from weit_rl.data.windows import Windows

__all__ = ["Statistics", "Trajectories", "Windows", "load_trajectories"]


def __getattr__(name: str) -> Any:
    """Windows are tensors; what is wrong with data is found without loading torch."""
    if name != "Windows":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from weit_rl.data.windows import Windows

    return Windows
