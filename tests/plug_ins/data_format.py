"""A data format in one file: a text with a step per line, observation, action and reward."""

import numpy as np

from weit_rl.data.formats import EpisodeFormat

NAME = __name__.rpartition(".")[2]


def accepts(path):
    """Return True for a file of this format."""
    return path.suffix == f".{NAME}"


def read(path):
    """Read the one episode of a file."""
    table = np.loadtxt(path, ndmin=2)
    return [(table[:, :1], table[:, 1:2], table[:, 2])], {}


MEMBER = EpisodeFormat(f"{NAME} text", accepts, read)
