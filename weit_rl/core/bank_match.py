"""What a bank or a network was made for, by its card; other runs are refused it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.options.choices import DEFAULT


def check_bank(card: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """UserError for a bank of another model or attention: of another band all would fit, and mean something else."""
    check_same("bank", model_of(card), asked["model"])
    options = card.get("config", {})
    if not isinstance(options, Mapping):
        raise UserError("bank: its card does not go with its tensors; get the bank again")
    attention, wanted = attention_of(options), attention_of(asked)
    if attention != wanted:
        raise UserError(f"bank: was made with {attention}, this run asks for {wanted}; make them the same")


def check_same(what: str, made: str, asked: str) -> None:
    """UserError where something was made for another model."""
    if made != asked:
        raise UserError(f"{what}: was made for model={made}, this run asks for model={asked}; make them the same")


def model_of(card: Mapping[str, Any]) -> str:
    """The model a bank was made for; one that does not say is older than the choice."""
    return str(card.get("model", DEFAULT))


def attention_of(options: Mapping[str, Any]) -> str:
    """The attention that options ask for, as words of a command; what does not say is older than the choice."""
    attention = options.get("attention", "full")
    return f"attention={attention}" + (f" band={options['band']}" if attention == "band" else "")
