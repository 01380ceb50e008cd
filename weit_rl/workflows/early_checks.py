"""What a command's words show to be wrong, found before torch is loaded: such a mistake is answered at once.

All of it is found again where it is used, so that who calls ``main`` with a config misses nothing.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from weit_rl.common.home import expanded
from weit_rl.common.registry import unknown
from weit_rl.options.option_fields import Options

if TYPE_CHECKING:
    from weit_rl.envs.registry import EnvEntry


def check_early(verb: str, cfg: Options) -> None:
    """Raise UserError for a value, name or path in a composed config of control that cannot be good."""
    if (cfg.get("task") or "control") != "control" or verb == "vision":
        return
    cfg = copy.deepcopy(cfg)
    entries = _environments(cfg)
    for name in ("resume", "run"):
        if cfg.get(name) is not None:
            _run_folder(cfg[name])
    if cfg.get("resume") is not None or verb in ("collect", "export"):
        return  # the stored options count; collect has numbers of its own, export many that may be null
    _values(cfg)
    _files(cfg, entries)


def _environments(cfg: Any) -> list[EnvEntry]:
    """The entries of all that ``env`` names."""
    if "body" not in cfg:
        return []
    from weit_rl.envs.config_environments import bodies, name_env
    from weit_rl.envs.registry import env_entry

    name_env(cfg)
    return [env_entry(one.env) for one in bodies(cfg)]


def _run_folder(path: str) -> None:
    from weit_rl.training.run_folder import RunFolder

    RunFolder.open(path)


def _values(cfg: Any) -> None:
    from weit_rl.common.sizes import Size
    from weit_rl.options.choices import check_choices, check_numbers, check_trainer, size_of

    check_numbers(cfg)
    check_choices(cfg)
    check_trainer(cfg)
    if "size" in cfg and not (cfg.get("bank") or cfg.get("source")):  # which may have other heads
        Size.parse(cfg.size) if isinstance(cfg.size, str) else size_of(cfg.size)


def _files(cfg: Any, entries: list[EnvEntry]) -> None:
    """Data must be there; banks and sources must be tensor files, and banks made for such a network."""
    from weit_rl.core.bank_match import check_bank, model_of
    from weit_rl.data.readers import find_data, parts_of
    from weit_rl.envs.config_environments import bodies
    from weit_rl.storage.tensor_file import read_card

    for one, entry in zip(bodies(cfg) if entries else [], entries, strict=True):
        if one.get("data") is None or entry.pixels:  # that pictures cannot be seen or drawn is said before that
            continue
        for part in parts_of(one.data, entry):
            find_data(part, entry)
    if cfg.get("init") != "weit":  # others say whether they need one when they are loaded, with torch
        return
    name = "bank" if cfg.source is None else "source"  # which alone is read then
    if cfg[name] is not None and not str(cfg[name]).startswith("hf:"):  # of the hub, loaded first
        place = expanded(cfg[name])
        if name == "bank" and place.name == cfg.bank and not place.suffix and not place.exists():
            return  # perhaps the name of one that ships, which the models must be loaded to tell
        written = {"bank": "bank.safetensors", "source": "checkpoints/last.safetensors"}[name]  # in its run folder
        card = read_card(place / written if place.is_dir() else place)
        if name == "bank":
            if model_of(card) != cfg.model:
                _check_model(cfg.model)
            check_bank(card, cfg)


def _check_model(name: str) -> None:
    """UserError for a model that there is not, which is the likelier mistake than a bank of another one."""
    from weit_rl.models import models_of

    if name not in models_of("control"):
        raise unknown("model", name, models_of("control"))
