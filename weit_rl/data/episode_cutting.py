"""Cutting of arrays that hold several episodes at the marks stored beside them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from weit_rl.data.episode import Episode
from weit_rl.data.episode_marks import marked_ends
from weit_rl.data.formats.registry import check_shapes, column


def cut_episodes(laid: Episode, marks: Mapping[str, np.ndarray], where: str) -> tuple[list[Episode], list[str]]:
    """Cut arrays into episodes, and describe steps after the last marked end.

    Args:
        laid: all episodes end to end. Observations may have one row more in total, or one more per episode; that row is
            left out.
        marks: arrays by name, as :func:`weit_rl.data.episode_marks.marked_ends` takes them; without marks there is one
            episode.
        where: the file, for errors.

    Returns:
        The episodes, and at most one line about steps after the last marked end.

    Raises:
        UserError: if shapes or lengths are wrong, or the marks do not fit the arrays.
    """
    steps, seen = len(np.atleast_1d(laid.actions)), len(np.atleast_1d(laid.observations))
    ends, known = marked_ends(marks, steps, seen, where)
    bounds = [0, *sorted({*ends, steps})]
    own_last = int(seen - steps == len(bounds) - 1)  # each episode has its own last observation
    rows = laid.observations[:steps] if own_last or seen == steps + 1 else laid.observations
    check_shapes(laid._replace(observations=rows).by_name, where)
    spans = [slice(begin, end) for begin, end in pairwise(bounds)]
    left_out = bool(ends) and not known and steps - ends[-1] == 1
    cuts = [_piece(laid, span, own_last * i) for i, span in enumerate(spans)]
    return cuts[:-1] if left_out else cuts, [] if known or not ends else [_note(steps - ends[-1], left_out)]


def _piece(laid: Episode, span: slice, behind: int) -> Episode:
    seen = slice(span.start + behind, span.stop + behind)
    return Episode(laid.observations[seen], laid.actions[span], column(laid.rewards)[span])


def _note(steps: int, left_out: bool) -> str:
    what = "left out" if left_out else "taken as an episode that was cut off"
    return (
        f"{'the last step is' if steps == 1 else f'the last {steps} steps are'} after the last marked end, and {what}"
    )
