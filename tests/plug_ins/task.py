"""A task in one file: classification under another name."""

from weit_rl.tasks import Kind, Measure, kind_named

NAME = __name__.rpartition(".")[2]


def make(cfg, tile=16):
    """Make the task of a config."""
    task = kind_named("classification").make(cfg, tile)
    task.name = NAME
    return task


def prepare(cfg):
    """Complete a config as classification does."""
    kind_named("classification").prepare(cfg)


MEMBER = Kind(make, lambda cfg: NAME, Measure(("accuracy", "top5"), "accuracy"), prepare=prepare)
