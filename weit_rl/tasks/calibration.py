"""Measure and draw the confusion matrix and the calibration of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from weit_rl.training.learning_curve import png

BINS = 10
FIGURE = 5.0  # inches
NAMED = 20  # most classes whose names fit beside a matrix


def confusion_matrix(logits: Tensor, labels: Tensor) -> np.ndarray:
    """Count images by true class (rows) and predicted class (columns), ``(classes, classes)``."""
    classes = logits.shape[1]
    pairs = labels * classes + logits.argmax(1)
    return pairs.bincount(minlength=classes**2).view(classes, classes).numpy()


def reliability(logits: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort images into ten equal bins of confidence, the probability of the predicted class.

    Args:
        logits: ``(n, classes)``.
        labels: ``(n,)``.

    Returns:
        Mean confidence, accuracy and number of images of each bin, ``(10,)`` each; an empty bin has zeros.
    """
    confidence, chosen = logits.softmax(1).max(1)
    right, bins = (chosen == labels).double(), (confidence * BINS).long().clamp_max(BINS - 1)
    count = bins.bincount(minlength=BINS)
    means = [bins.bincount(x.double(), minlength=BINS) / count.clamp_min(1) for x in (confidence, right)]
    return means[0].numpy(), means[1].numpy(), count.numpy()


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Compute the expected calibration error in [0, 1] (Guo et al. 2017, arXiv 1706.04599).

    It is the gap between confidence and accuracy, averaged over the images of all bins.
    """
    confidence, accuracy, count = reliability(logits, labels)
    return float(np.abs(confidence - accuracy) @ count / count.sum())


def draw_confusion(matrix: np.ndarray, classes: Sequence[str]) -> bytes:
    """Draw a confusion matrix as a PNG; grey shows the share of each row."""
    shares = matrix / matrix.sum(1, keepdims=True).clip(1)
    figure, axes = _figure()
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    axes.set(xlabel="predicted class", ylabel="true class")
    if len(classes) <= NAMED:
        names = [name.replace("$", r"\$") for name in classes]  # no formulas: matplotlib reads TeX between dollar signs
        axes.set_xticks(range(len(classes)), names, rotation=90)
        axes.set_yticks(range(len(classes)), names)
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=7)
    return png(figure)


def draw_reliability(logits: Tensor, labels: Tensor) -> bytes:
    """Draw accuracy over confidence as a PNG; a perfectly calibrated network lies on the diagonal."""
    confidence, accuracy, count = reliability(logits, labels)
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1)
    axes.bar((np.arange(BINS) + 0.5) / BINS, accuracy, 0.9 / BINS, color="C0", alpha=0.4)
    seen = count > 0
    axes.plot(confidence[seen], accuracy[seen], "o-", color="C0")
    error = calibration_error(logits, labels)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    axes.set_title(f"calibration error {error:.3f}, {len(labels)} images")
    return png(figure)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # not pyplot, which needs a window system and has global state

    figure = Figure(figsize=(FIGURE, FIGURE), layout="constrained")
    return figure, figure.subplots()
