"""The options of a command that its model takes: words such as ``attention=band``, and ``model_options={...}``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from weit_rl.common.errors import UserError
from weit_rl.options.option_fields import LATER, Options, option

MODEL_OPTIONS = "options of the model's constructor, such as {rtg: none} of dt; a model of your own has its own"
IMAGE_MODEL_OPTIONS = (
    "options of the model's constructor, such as {patch_size: 2} of vit; a model of your own has its own"
)
RTG = ("latest", "every", "none")
POSITIONS = ("window", "episode", "none")
ATTENTION = ("full", "band")
CHOICES = {"rtg": RTG, "positions": POSITIONS, "attention": ATTENTION}
LEAST = {"band": 1, "patch_size": 1}
SHOWN = ("rtg", "past_actions", "positions", "patch_size")  # a network shows them by the parameters that it has
TRAINED = ("dropout", "drop_path")  # for training alone
WORDS = (*SHOWN, *TRAINED, "attention", "band")


@dataclass
class ControlModelOptions(Options):
    """What a policy network looks back on."""

    place: ClassVar[int] = LATER

    context: int = option(
        20,
        "environment steps the policy looks back (mlp: none; as many to a window are trained on; of pixels: none, "
        "video and multimodal always 4)",
    )
    rtg: str = option(
        "latest",
        "return-to-go tokens: at every step (every), only at the latest one (latest), none (plain behaviour "
        "cloning); every: dt only",
    )
    past_actions: bool = option(False, "dt: whether past actions are tokens, as in the original decision transformer")
    positions: str = option(
        "window",
        "dt: position embeddings: step inside the window (window) or inside the episode (episode), or none",
    )
    attention: str = option(
        "full",
        "dt: over the whole window (full), or over the last steps (band): then acting keeps keys and values",
    )
    band: int = option(4, "steps that a block with attention=band sees; windows must hold depth * (band - 1) + 1")
    model_options: dict[str, Any] = option({}, MODEL_OPTIONS)


def check_agreement(cfg: Mapping[str, Any]) -> None:
    """Raise UserError for a word that a user gave and ``model_options`` contradicts."""
    if not isinstance(cfg, Options):
        return  # of a stored run, which was checked when it began
    usual, more = type(cfg)(), cfg.get("model_options") or {}
    for word in WORDS:
        if word in cfg and word in more and more[word] != cfg[word] != usual[word]:
            raise UserError(f"{word}={cfg[word]}: model_options says {word}={more[word]}; leave one of them out")


def given_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the options of a model from a command's options, or from those that a bank's card keeps."""
    words = {word: config[word] for word in WORDS if word in config}
    return {**words, **config.get("model_options", {})}


def lasting_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the options that change what weights mean, though all shapes stay: a network shares them with its bank."""
    idle = ("band",) if options.get("attention", "band") != "band" else ()
    return {name: value for name, value in options.items() if name not in (*SHOWN, *TRAINED, *idle)}
