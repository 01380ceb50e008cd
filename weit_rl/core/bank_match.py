"""Checks that a run uses a bank or network with the model and attention it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.options.choices import DEFAULT


def check_bank(card: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Check a bank's model and attention against a run's options.

    A bank made for another attention band would fit by shape, but its weights would not mean the same.

    Args:
        card: of the bank.
        asked: options of the run.

    Raises:
        UserError: if they differ, or the card's options are no mapping.
    """
    check_same("bank", model_of(card), asked["model"])
    options = card.get("config", {})
    if not isinstance(options, Mapping):
        raise UserError("bank: its card does not fit its tensors; get the bank again")
    attention, wanted = attention_of(options), attention_of(asked)
    if attention != wanted:
        raise UserError(f"bank: was made with {attention}, this run asks for {wanted}; make them the same")


def check_same(what: str, made: str, asked: str) -> None:
    """Raise UserError if something was made for another model."""
    if made != asked:
        raise UserError(f"{what}: was made for model={made}, this run asks for model={asked}; make them the same")


def model_of(card: Mapping[str, Any]) -> str:
    """Return the model of a bank; a card without one is older than the option."""
    return str(card.get("model", DEFAULT))


def attention_of(options: Mapping[str, Any]) -> str:
    """Return the attention of some options, as words of a command; options without one are older than the option."""
    attention = options.get("attention", "full")
    return f"attention={attention}" + (f" band={options['band']}" if attention == "band" else "")
