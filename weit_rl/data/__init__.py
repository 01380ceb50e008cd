"""Offline data: recorded trajectories, readers of their file formats, and windows cut from them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weit_rl.data.readers import load_trajectories
    from weit_rl.data.trajectories import Statistics, Trajectories
    from weit_rl.data.windows import Windows

__all__ = ["Statistics", "Trajectories", "Windows", "load_trajectories"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that the process that reads files needs no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = {"load_trajectories": "readers", "Windows": "windows"}.get(name, "trajectories")
    return getattr(import_module(f"weit_rl.data.{home}"), name)
