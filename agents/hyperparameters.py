"""Keyword arguments of Stable-Baselines3's algorithms, as a command's options give them."""

from __future__ import annotations

import copy
import inspect
from typing import Any

UNSET: dict[str, tuple[Any, str]] = {  # arguments whose default, None, does not show their type
    "policy_kwargs": (dict, "a mapping"),
    "replay_buffer_kwargs": (dict, "a mapping"),
    "tensorboard_log": (str, "a text"),
    "target_kl": (int | float, "a number"),
}


def checked(algorithm: type, options: dict[str, Any], n_envs: int) -> dict[str, Any]:
    """Check the options, and return a copy that Stable-Baselines3 may modify.

    Args:
        algorithm: a class of Stable-Baselines3.
        options: its keyword arguments; ``train_freq`` may be a list, ``[1, episode]``.
        n_envs: environments stepped side by side.

    Raises:
        TypeError, ValueError: for an option that would fail only in the middle of the training.
    """
    options = copy.deepcopy(options)
    defaults = {name: parameter.default for name, parameter in inspect.signature(algorithm).parameters.items()}
    for name in set(options) & set(defaults) - {"train_freq"}:
        _check_kind(name, options[name], defaults[name])
    if options.get("optimize_memory_usage"):
        raise ValueError("optimize_memory_usage: a stopped training could not go on from such a buffer; leave it out")
    if "train_freq" in options:
        options["train_freq"] = _train_freq(options["train_freq"], n_envs)
    return options


def _check_kind(name: str, value: Any, default: Any) -> None:
    if type(default) is int and not isinstance(value, int):
        raise TypeError(f"{name} must be an integer")
    if type(default) is float and (value is None or isinstance(value, str | list | dict)):
        raise TypeError(f"{name} must be a number")
    kind, words = UNSET.get(name, (object, ""))
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be {words}")


def _train_freq(value: Any, n_envs: int) -> Any:
    """Return the frequency and its unit as a tuple, which YAML does not have."""
    frequency, unit = value if isinstance(value, list | tuple) and len(value) == 2 else (value, "step")
    if isinstance(frequency, int) and frequency < 1:
        raise ValueError("train_freq must be 1 or more")
    if unit == "episode" and n_envs > 1:
        raise ValueError(f"train_freq counts episodes of a single environment only, not of n_envs={n_envs}")
    return (frequency, unit)
