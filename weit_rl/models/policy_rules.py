"""The rules of the plans of policies: which parameters are composed of templates, and which belong to a body."""

from __future__ import annotations

from weit_rl.core.plan import FIXED, LAYER, Rule

BLOCK = rf"blocks\.{LAYER}\."
BOUND = ("embed_observation", "embed_action", "embed_code", "task_code", "head")  # they depend on the body


def shared_rules(tile: int) -> tuple[Rule, ...]:
    """Return the rules for policies with :class:`FeedForward`: MLPs are composed, the rest is free."""
    square = (tile, tile)
    return (
        Rule(BLOCK + r"fc1\.weight", "fc1", square, 1, ("hidden", "stream"), 1),
        Rule(BLOCK + r"fc1\.bias", "fc1", None, 1, ("hidden",)),
        Rule(BLOCK + r"fc2\.weight", "fc2", square, 1, ("stream", "hidden"), 1),
        Rule(BLOCK + r"fc2\.bias", "bias", None, 1, ("stream",)),
        *FREE_RULES,
    )


FREE_RULES = (  # for the parameters of every policy
    Rule(BLOCK + r"norm[12]\.(weight|bias)", "norm", None, 1, ("stream",)),
    Rule(r"norm_(in|out)\.(weight|bias)", "norm", None, 1, ("stream",)),
    Rule(r"embed_(observation|action|return)\.weight", "embed", None, 1, ("stream", FIXED)),
    Rule(r"embed_(observation|action|return)\.bias", "embed", None, 1, ("stream",)),
    Rule(r"embed_code", "embed", None, 1, ("stream", FIXED)),
    Rule(r"task_code", "code", None, 1, (FIXED, FIXED)),
    Rule(r"modulate\.weight", "modulate", None, 2, ("stream", FIXED)),
    Rule(r"modulate\.bias", "modulate", None, 2, ("stream",)),
    Rule(r"head\.weight", "head", None, 1, (FIXED, "stream"), 1),
    Rule(r"head\.bias", "head", None, 1, (FIXED,)),
)
