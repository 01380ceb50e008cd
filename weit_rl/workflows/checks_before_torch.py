"""Check a command's config before torch is loaded, so that mistakes are reported at once.

Every check is repeated where its value is used, for callers of ``main`` who skip these.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from weit_rl.common.home import expand_home
from weit_rl.common.registry import unknown_name_error
from weit_rl.options.option_fields import Options
from weit_rl.options.shared_options import ControlDataOptions, EnvOptions
from weit_rl.options.train_options import TrainOptions

if TYPE_CHECKING:
    from weit_rl.envs.registry import EnvEntry


def check_before_torch(verb: str, cfg: Options) -> None:
    """Raise UserError for a value, name or path of a control config that cannot work.

    Args:
        verb: the command, such as "train".
        cfg: its composed config.
    """
    if (cfg.get("task") or "control") != "control" or verb == "vision":
        return
    cfg = copy.deepcopy(cfg)
    entries = _environments(cfg)
    for name in ("resume", "run"):
        if cfg.get(name) is not None:
            _run_folder(cfg[name])
    if cfg.get("resume") is not None or verb in ("collect", "export"):
        return  # resume uses stored options; collect and export have options of their own
    _values(cfg)
    _files(cfg, entries)


def _environments(cfg: Options) -> list[EnvEntry]:
    """Return the registry entries of all environments in ``env``."""
    if not isinstance(cfg, EnvOptions):
        return []
    from weit_rl.envs.config_environments import bodies, entries_of, fold_body_and_pixels

    fold_body_and_pixels(cfg)
    several = bodies(cfg) if isinstance(cfg, ControlDataOptions) else [cfg]
    return [entry for one in several for entry in entries_of(one.env)]


def _run_folder(path: str) -> None:
    from weit_rl.training.run_folder import RunFolder

    RunFolder.open(path)


def _values(cfg: Options) -> None:
    from weit_rl.common.sizes import Size
    from weit_rl.options.choices import check_choices, check_numbers, check_trainer, size_of

    check_numbers(cfg)
    check_choices(cfg)
    check_trainer(cfg)
    if "size" in cfg and not (cfg.get("bank") or cfg.get("source")):  # these may have attention heads of another size
        Size.parse(cfg["size"]) if isinstance(cfg["size"], str) else size_of(cfg["size"])


def _files(cfg: Options, entries: list[EnvEntry]) -> None:
    """Check that data exist, that banks and sources are tensor files, and that a bank fits the network."""
    from weit_rl.core.bank_match import check_bank, model_of
    from weit_rl.data.readers import data_set_names, find_data
    from weit_rl.options.model_words import given_options
    from weit_rl.storage.tensor_file import read_card

    for data, entry in zip(_data(cfg) if isinstance(cfg, EnvOptions) else [], entries, strict=True):
        if data is None or entry.pixels:  # errors about pictures come first
            continue
        for part in data_set_names(data, entry):
            find_data(part, entry)
    if not isinstance(cfg, TrainOptions) or cfg.init != "weit":
        return  # other initialisers say if they need a bank, but loading them loads torch
    name = "bank" if cfg.source is None else "source"  # a source replaces the bank
    if cfg[name] is not None and not str(cfg[name]).startswith("hf:"):  # banks of the hub are downloaded first
        place = expand_home(cfg[name])
        if name == "bank" and place.name == cfg.bank and not place.suffix and not place.exists():
            return  # may be the name of a shipped bank, which only the models know
        written = {"bank": "bank.safetensors", "source": "checkpoints/last.safetensors"}[name]  # of a run folder
        card = read_card(place / written if place.is_dir() else place)
        if name == "bank":
            if model_of(card) != cfg.model:
                _check_model(cfg.model)
            usual = given_options(type(cfg)())
            check_bank(card, str(cfg.model), given_options(cfg), usual)  # options of its own come later


def _data(cfg: EnvOptions) -> list[Any]:
    """Return the data of every environment, None where a command reads none; a family has a body, and a set each."""
    from weit_rl.envs.config_environments import bodies

    if not isinstance(cfg, ControlDataOptions):
        return [None]
    return [data for one in bodies(cfg) for data in ([one.data] if isinstance(one.env, str) else one.data)]


def _check_model(name: str | None) -> None:
    """Raise UserError for an unknown model, a likelier mistake than a bank of another model."""
    from weit_rl.models import models_of

    if name not in models_of("control"):
        raise unknown_name_error("model", str(name), models_of("control"))
