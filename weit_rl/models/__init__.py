"""Network families, one file each: the network and its plan. A new one is a file and a line ``MODELS.add(...)``."""

from weit_rl.models.registry import BOTH, MODELS, Model, models_of

__all__ = ["BOTH", "MODELS", "Model", "models_of"]
