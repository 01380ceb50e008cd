"""The tasks of benchmarks/ladder and the scores their sizes must reach; fixed before the first run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ladder:
    """A task and the scores that every size must reach on it.

    Attributes:
        words: options of pre-training and of training.
        own: further options of training.
        metric: the score, a key of the report.
        goals: scores to reach, by their name in a table's title.
        scratch: budgets of training from scratch, in steps.
        unit: what follows a score in a table's note.
    """

    words: tuple[str, ...]
    own: tuple[str, ...]
    metric: str
    goals: dict[str, float]
    scratch: tuple[int, ...]
    unit: str


RETURN = 9792.5  # mean return of the data
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
