"""Network families, one file each, which holds the network and its plan.

To add one, write a file here with a line ``MODELS.add(name, Model(...))``.
"""

from weit_rl.models.registry import BOTH, MODELS, Model, models_of

__all__ = ["BOTH", "MODELS", "Model", "models_of"]
