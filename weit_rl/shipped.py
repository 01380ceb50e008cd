"""Where the banks that ship with the package lie."""

from __future__ import annotations

from pathlib import Path

from weit_rl.choices import DEFAULT
from weit_rl.models import MODELS
from weit_rl.tensorfile import read_card

BANKS = Path(__file__).parent / "assets" / "banks"
SHARED = "bodies"  # the file of a bank of several bodies, whose names are in its card


def shipped_bank(env: str, model: str) -> Path:
    """Where the bank of an environment and a model lies, if it ships; that of the default model has no suffix.

    A body of other proportions (``HalfCheetah:limbs=0.75``) has its original's. Where a body has no bank of its own, it
    is the one of several bodies, if that one knows it.

    Raises:
        UserError: for a model that nobody registered.
    """
    MODELS.get(model)
    body, suffix = env.partition(":")[0], "" if model == DEFAULT else f"-{model}"
    own, shared = BANKS / f"{body}{suffix}.safetensors", BANKS / f"{SHARED}{suffix}.safetensors"
    return shared if not own.is_file() and shared.is_file() and body in read_card(shared)["names"] else own


def shipped_names() -> list[str]:
    """Every environment or data set and model that a bank ships for, ``"Hopper dt"``."""
    found = set()
    for path in BANKS.glob("*.safetensors"):
        card = read_card(path)
        model = str(card.get("model", DEFAULT))
        names = card.get("names") if path.stem.partition("-")[0] == SHARED else [path.stem.removesuffix(f"-{model}")]
        found |= {f"{name} {model}" for name in names}
    return sorted(found)
