"""Initialisers: ways to make a network of a new size, one file each, ``(source, target, context) -> state_dict``.

To add one, write a file here with a line ``INITIALIZERS.add(name, Initializer(function, train_lr))``.
"""

from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, Make, TrainedSource, with_options

__all__ = ["INITIALIZERS", "Context", "Initializer", "Make", "TrainedSource", "with_options"]
