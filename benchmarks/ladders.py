"""What the ladders of ladder.py are of, and what their sizes are to reach; fixed before they are run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ladder:
    """What is learned, and what is to be reached.

    Attributes:
        words: of every training; ``own`` of those of sizes alone.
        metric: of the report.
        goals: what it is to reach, by how a title says it.
        scratch: budgets of a size from scratch.
        said: of the goal and the data, behind a number.
    """

    words: tuple[str, ...]
    own: tuple[str, ...]
    metric: str
    goals: dict[str, float]
    scratch: tuple[int, ...]
    said: str


RETURN = 9792.5  # of the data
LADDERS = {
    "control": Ladder(
        (),
        ("episodes=10", "validation_episodes=0"),
        "return_mean",
        {"90% of the data's return": 0.9 * RETURN, "100% of the data's return": RETURN},
        (300, 600, 1000, 1500, 2000, 3000),
        "return over 10 episodes, HalfCheetah expert, one seed",
    ),
    "digits": Ladder(
        ("task=classification", "data=digits", "model=vit"),
        ("validation=false",),
        "accuracy",
        {"95% of the test images": 95.0},
        (30, 60, 100, 200, 300, 600, 1000, 2000),
        "% of the test images right, ViT on scikit-learn's digits, one seed",
    ),
}
