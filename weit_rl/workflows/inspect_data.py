"""Describe a data set: its origin, returns, lengths and actions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.common.output import print_line
from weit_rl.data import Trajectories, load_trajectories
from weit_rl.data.constant_columns import spans
from weit_rl.data.readers import data_set_names, shipped_levels
from weit_rl.envs.registry import EnvEntry, env_entry
from weit_rl.options.collect_options import CollectOptions

BINS = 10  # of the histogram
WIDTH = 40  # characters of the longest bar
AT_BOUND = 1e-3  # an action this near to -1 or 1 counts as at the bound


def inspect_data(cfg: CollectOptions) -> dict[str, Any]:
    """Describe every set in ``cfg.data``, or every shipped level of ``cfg.env``.

    Returns:
        The numbers of :func:`describe` for each set.

    Raises:
        UserError: if a set cannot be read or is of another environment, or if ``cfg.data`` is empty and no set ships.
    """
    entry = env_entry(str(cfg.env))
    parts = shipped_levels(entry) if cfg.data is None else data_set_names(cfg.data, entry)
    if not parts:
        raise UserError(f"data: none ships for {entry.name}; name a set, data=PATH")
    found = {part: describe(load_trajectories(part, entry), entry) for part in parts}
    for part, facts in found.items():
        print_line("\n".join(lines(part, facts, entry)), end="\n\n")
    return found


def describe(trajectories: Trajectories, entry: EnvEntry) -> dict[str, Any]:
    """Compute the numbers of one set.

    Returns:
        ``format``, ``path``, ``env_id``, ``level`` and ``algorithm`` (None if the set does not name it); ``episodes``
        and ``steps``; ``returns`` and ``lengths`` (mean, std, min, median, max each); ``score`` of the mean return;
        ``action_min`` and ``action_max`` of each action entry, where -1 and 1 are the environment's bounds;
        ``at_bounds`` (share of action entries at or outside a bound); ``outside`` (share outside);
        ``constant_columns`` (observation entries that never move); ``histogram`` (``counts`` of returns between
        ``edges``); ``action_space`` of the set (None if unknown); ``scaled`` (if actions were scaled from there).
    """
    info, returns, size = trajectories.info, trajectories.returns(), np.abs(trajectories.actions)
    counts, edges = histogram(returns)
    return {
        **{name: info.get(name) for name in ("format", "path", "env_id", "level")},
        "algorithm": info.get("algorithm") or info.get("algorithm_name") or info.get("behaviour"),
        "episodes": trajectories.episodes,
        "steps": trajectories.steps,
        "returns": _spread(returns),
        "score": entry.score(returns.mean(), info.get("success_rate")),
        "lengths": _spread(trajectories.lengths),
        "action_min": trajectories.actions.min(axis=0).tolist(),
        "action_max": trajectories.actions.max(axis=0).tolist(),
        "at_bounds": float((size >= 1 - AT_BOUND).mean()),
        "outside": float((size > 1 + 1e-5).mean()),
        "constant_columns": trajectories.constant_columns(),
        "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
        **{name: info.get(name) for name in ("action_space", "scaled")},
    }


def lines(name: str, facts: dict[str, Any], entry: EnvEntry) -> list[str]:
    """Write the numbers of one set as lines of text."""
    known = {key: facts[key] for key in ("env_id", "level", "algorithm") if facts[key]}
    score = "" if facts["score"] is None else f"; {entry.score_name} {facts['score']:.1f}"
    still = facts["constant_columns"]
    ranges = "  ".join(
        f"{low:.2f}..{high:.2f}" for low, high in zip(facts["action_min"], facts["action_max"], strict=True)
    )
    return [
        f"{name}: {facts['episodes']} episodes, {facts['steps']} steps",
        f"  format    {facts['format']}, {facts['path']}",
        f"  recorded  {', '.join(f'{key} {value}' for key, value in known.items()) or 'the set does not say'}",
        f"  return    {_text(facts['returns'], '.1f')}{score}",
        f"  length    {_text(facts['lengths'], '.0f')} steps",
        f"  actions   {ranges}  (-1..1 spans the bounds {entry.action_box})",
        *_spaces(facts, entry),
        f"            {facts['at_bounds']:.1%} at the bounds, {facts['outside']:.1%} outside",
        *([f"  constant  columns {spans(still)} of the observations never move"] if still else []),
        *bars(**facts["histogram"]),
    ]


def _spaces(facts: dict[str, Any], entry: EnvEntry) -> list[str]:
    if not facts["action_space"]:
        return []
    scaled = f", scaled from there, since {entry.name} has other bounds" if facts["scaled"] else ""
    return [f"            recorded in the bounds {facts['action_space']}{scaled}"]


def histogram(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count returns in bins; returns that differ only by rounding share one. Returns counts and edges."""
    low, high = returns.min(), returns.max()
    size = max(abs(low), abs(high))
    margin = 0.0 if high - low > 1e-9 * size else max(0.5, 1e-6 * size)
    return np.histogram(returns, BINS, (low - margin, high + margin))


def bars(counts: list[int], edges: list[float]) -> list[str]:
    """Draw a histogram as text, one row per bin."""
    decimals = max(1, 1 - math.floor(math.log10(edges[1] - edges[0])))  # enough to distinguish neighbouring bins
    texts = [f"{edge:.{decimals}f}" for edge in edges]
    wide = max(len(text) for text in texts)
    long = [round(WIDTH * count / max(counts)) for count in counts]
    spans = [f"{low:>{wide}} to {high:>{wide}}" for low, high in pairwise(texts)]
    return [f"  {span}  {'#' * n}{' ' * (n > 0)}{count}" for span, n, count in zip(spans, long, counts, strict=True)]


def _spread(values: np.ndarray) -> dict[str, float]:
    return {name: float(getattr(np, name)(values)) for name in ("mean", "std", "min", "median", "max")}


def _text(spread: dict[str, float], form: str) -> str:
    shown = {name: format(value, form) for name, value in spread.items()}
    return "{mean} +- {std} (min {min}, median {median}, max {max})".format(**shown)
