"""The banks that ship with the package, and their paths."""

from __future__ import annotations

from pathlib import Path

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.models.registry import MODELS
from weit_rl.options.choices import DEFAULT
from weit_rl.storage.tensor_file import read_card

BANKS = Path(__file__).parents[1] / "assets" / "banks"
WRITTEN = "bank.safetensors"  # in the run folder of a pre-training run
SHARED = "bodies"  # file name of the bank of several bodies; its card lists their names
BETTER_ALONE = (("HalfCheetah", "mlp"),)  # see benchmarks/shared_bank


def shipped_bank(env: str, model: str) -> Path:
    """Return the path of the bank that ships for an environment and a model.

    It is the bank of several bodies, or the environment's own bank if that is better. A body of other proportions
    (``HalfCheetah:limbs=0.75``) has the bank of its original, and a task (``metaworld/reach-v3``) that of its family.

    Raises:
        UserError: for an unknown model.
    """
    body, shared = env.partition(":")[0], _file(SHARED, model)
    is_shared = shared.is_file() and (body, model) not in BETTER_ALONE and body in read_card(shared)["names"]
    family = own_bank(env.partition("/")[0], model)
    return shared if is_shared else family if "/" in env and family.is_file() else own_bank(body, model)


def own_bank(env: str, model: str) -> Path:
    """Return the path of the bank of one environment and a model, which need not exist.

    Raises:
        UserError: for an unknown model.
    """
    return _file(env, model)


def _file(name: str, model: str) -> Path:
    """Return the path of a bank; the default model has no suffix."""
    MODELS.get(model)
    return BANKS / f"{name}{'' if model == DEFAULT else f'-{model}'}.safetensors"


def named_bank(bank: str, model: str) -> str:
    """Return where a bank is read from, given a path, ``hf:USER/NAME``, or the name of an environment or data set.

    In the run folder of a pre-training run it is the file that the run wrote.

    Raises:
        UserError: for a name that no bank of the model ships for.
    """
    written = expand_home(bank) / WRITTEN
    if written.is_file():
        return str(written)
    if expand_home(bank).exists() or set(bank) & set("/.:\\"):
        return bank
    shipped = shipped_bank(bank, model)
    if not shipped.is_file():
        names = ", ".join(shipped_for(model)) or "none does"
        raise UserError(f"bank={bank}: neither a file nor a name that a bank of model={model} ships for ({names})")
    return str(shipped)


def shipped_for(model: str) -> list[str]:
    """List the environments and data sets that banks of a model ship for."""
    return [name.rpartition(" ")[0] for name in shipped_names() if name.endswith(f" {model}")]


def shipped_names() -> list[str]:
    """List every environment or data set and model that a bank ships for, such as ``"Hopper dt"``."""
    found = set()
    for path in BANKS.glob("*.safetensors"):
        card = read_card(path)
        model = str(card.get("model", DEFAULT))
        own = path.stem.removesuffix(f"-{model}")
        found |= {f"{name} {model}" for name in (card["names"] if own == SHARED else [own])}
    return sorted(found)
