"""Where the banks that ship with the package lie."""

from __future__ import annotations

from pathlib import Path

from weit_rl.common.errors import UserError
from weit_rl.common.home import expanded
from weit_rl.models.registry import MODELS
from weit_rl.options.choices import DEFAULT
from weit_rl.storage.tensor_file import read_card

BANKS = Path(__file__).parents[1] / "assets" / "banks"
WRITTEN = "bank.safetensors"  # in the run folder of a pre-training
SHARED = "bodies"  # the file of a bank of several bodies, whose names are in its card
BETTER_ALONE = (("HalfCheetah", "mlp"),)  # see benchmarks/shared_bank


def shipped_bank(env: str, model: str) -> Path:
    """Where the bank lies that ships for an environment and model: that of several bodies, or a better one of its own.

    A body of other proportions (``HalfCheetah:limbs=0.75``) has its original's.

    Raises:
        UserError: for a model that nobody registered.
    """
    body, shared = env.partition(":")[0], _file(SHARED, model)
    together = shared.is_file() and (body, model) not in BETTER_ALONE and body in read_card(shared)["names"]
    return shared if together else own_bank(body, model)


def own_bank(env: str, model: str) -> Path:
    """Where the bank of one environment and a model lies, if it ships.

    Raises:
        UserError: for a model that nobody registered.
    """
    return _file(env, model)


def _file(name: str, model: str) -> Path:
    """That of the default model has no suffix."""
    MODELS.get(model)
    return BANKS / f"{name}{'' if model == DEFAULT else f'-{model}'}.safetensors"


def named_bank(bank: str, model: str) -> str:
    """Where a bank lies that is given by a path, as ``hf:USER/NAME``, or by an environment or data set it ships for.

    Of a folder it is what a pre-training wrote into it.

    Raises:
        UserError: for a bare word that is neither.
    """
    written = expanded(bank) / WRITTEN
    if written.is_file():
        return str(written)
    if expanded(bank).exists() or set(bank) & set("/.:\\"):
        return bank
    shipped = shipped_bank(bank, model)
    if not shipped.is_file():
        names = ", ".join(shipped_for(model)) or "none does"
        raise UserError(f"bank={bank}: neither a file nor a name that a bank of model={model} ships for ({names})")
    return str(shipped)


def shipped_for(model: str) -> list[str]:
    """The environments or data sets that a bank of one model ships for."""
    return [name.rpartition(" ")[0] for name in shipped_names() if name.endswith(f" {model}")]


def shipped_names() -> list[str]:
    """Every environment or data set and model that a bank ships for, ``"Hopper dt"``."""
    found = set()
    for path in BANKS.glob("*.safetensors"):
        card = read_card(path)
        model = str(card.get("model", DEFAULT))
        own = path.stem.removesuffix(f"-{model}")
        found |= {f"{name} {model}" for name in (card["names"] if own == SHARED else [own])}
    return sorted(found)
