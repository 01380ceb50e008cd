"""Data: offline trajectories, the readers of their file formats, and the windows cut from them."""

from weit_rl.data.readers import load_trajectories
from weit_rl.data.trajectories import Statistics, Trajectories, Windows

__all__ = ["Statistics", "Trajectories", "Windows", "load_trajectories"]
