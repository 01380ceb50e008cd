"""Checks that a run uses a bank or network with the model and options it was made with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.options.choices import DEFAULT
from weit_rl.options.model_words import given_options, lasting_options


def check_bank(
    card: Mapping[str, Any],
    model: str,
    options: Mapping[str, Any],
    usual: Mapping[str, Any],
    free: Collection[str] = (),
) -> None:
    """Check a bank's model and its options against those of a run.

    A bank that was made with another option of its model may fit by shape, but its weights would not mean the same.

    Args:
        card: of the bank.
        model: of the run.
        options: of the run's network.
        usual: the options to compare and their defaults, for a card that is older than an option.
        free: options that may differ (default: none).

    Raises:
        UserError: if they differ, or the card's options are no mapping.
    """
    check_same("bank", model_of(card), model)
    stored = stored_options(card)
    made, wanted = (
        lasting_options({name: given.get(name, usual[name]) for name in usual}) for given in (stored, options)
    )
    if other := [name for name in {**made, **wanted} if name not in free and made.get(name) != wanted.get(name)]:
        have, asked = (" ".join(f"{name}={one[name]}" for name in other if name in one) for one in (made, wanted))
        raise UserError(f"bank: was made with {have}, this run asks for {asked}; make them the same")


def stored_options(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of its model that a bank's card keeps; UserError if they are no mapping."""
    config = card.get("config", {})
    if not isinstance(config, Mapping) or not isinstance(config.get("model_options", {}), Mapping):
        raise UserError("bank: its card does not fit its tensors; get the bank again")
    return given_options(config)


def check_same(what: str, made: str, asked: str) -> None:
    """Raise UserError if something was made for another model."""
    if made != asked:
        raise UserError(f"{what}: was made for model={made}, this run asks for model={asked}; make them the same")


def model_of(card: Mapping[str, Any]) -> str:
    """Return the model of a bank; a card without one is older than the option."""
    return str(card.get("model", DEFAULT))
