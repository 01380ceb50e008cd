"""Where the banks that ship with the package lie."""

from __future__ import annotations

from pathlib import Path

from weit_rl.choices import DEFAULT
from weit_rl.models import MODELS

BANKS = Path(__file__).parent / "assets" / "banks"


def shipped_bank(env: str, model: str) -> Path:
    """Where the bank of an environment and a model lies, if it ships; that of the default model has no suffix.

    Raises:
        UserError: for a model that nobody registered.
    """
    MODELS.get(model)
    return BANKS / (f"{env}.safetensors" if model == DEFAULT else f"{env}-{model}.safetensors")
