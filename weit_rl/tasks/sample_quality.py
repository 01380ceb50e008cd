"""Measure the quality of sampled images by comparing a classifier's features of them and of real images.

The metrics are the Fréchet distance (FID, arXiv 1706.08500), the kernel distance (KID, arXiv 1801.01401), and precision
and recall (arXiv 1904.06991). Published values use Inception's features. Values of another classifier's features are
not comparable to them. ``features=inception`` uses Inception, if its weights are installed.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.data.images import Images
from weit_rl.tasks.inception import NAME as INCEPTION
from weit_rl.tasks.inception import Inception
from weit_rl.training.checkpoint import load_network
from weit_rl.training.run_folder import RunFolder

NEAREST = 3  # the neighbour whose distance is the radius in precision and recall, as in the paper
LEAST = NEAREST + 1  # images that a set needs
SUBSETS = 100  # of KID
SUBSET = 1000  # most images of a subset
AT_ONCE = 256  # images per batch of sampling, or rows per block of a distance matrix


class ClassifierFeatures(nn.Module):
    """A classifier without its last layer.

    Args:
        net: a network of timm, as ``model=vit`` and ``model=convnext`` are; its last layer is removed.
    """

    def __init__(self, net: Any):
        super().__init__()
        net.reset_classifier(0)
        self.net = net.eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Compute features ``(n, features)`` float64 of images ``(n, C, H, W)`` uint8; UserError for another shape."""
        device = next(self.net.parameters()).device
        return torch.cat([self.net(some.to(device)).double().cpu() for some in images.split(AT_ONCE)])


class Judge:
    """A network whose features compare samples with a test set: a trained classifier, or Inception.

    Args:
        run: run folder of the classifier, or ``"inception"``.
        images: the set of images with the test set.
        device: device of the network (default "cpu").

    Attributes:
        features: computes the features of images.
        name: model, size and data of the network.

    Raises:
        UserError: if the run does not exist, is no classifier, takes other images, or the test set is too small.
    """

    def __init__(self, run: str, images: Images, device: str = "cpu"):
        check_count(f"the test set of {images.name}", len(images.test))
        self.features, self.name = (Inception(), "InceptionV3") if run == INCEPTION else classifier(run)
        self.features.to(device)
        try:
            self.features(torch.zeros(1, *images.test.shape, dtype=torch.uint8))  # fails for images of another shape
        except UserError as error:
            raise UserError(f"features={run}: {error}") from error
        _torchmetrics()


def classifier(run: str) -> tuple[nn.Module, str]:
    """Load a run's classifier as a network of features, and its model, size and data as text."""
    net, card = load_network(RunFolder.open(expand_home(run)).checkpoint_path("last"))
    if card.get("task") != "classification":
        raise UserError(f"features={run}: is not of task=classification; give a classifier of such images")
    return ClassifierFeatures(net), f"{card['model']} {'x'.join(map(str, card['size'][:2]))} of {card['data']}"


def check_count(name: str, count: int) -> None:
    """Raise UserError for too few images to compare."""
    if count < LEAST:
        raise UserError(f"{name}: {count} images are too few to compare, {LEAST} or more are needed")


def quality_of(task: Any, net: nn.Module, features: nn.Module, samples: int, seed: int, **how: Any) -> dict[str, float]:
    """Sample images with the test set's share of classes, and compare them with the test set.

    Args:
        task: the diffusion task.
        net: the network that samples.
        features: computes the features of images.
        samples: number of images to sample.
        seed: seed of the noise, and of the classes of samples that do not divide evenly.
        how: options of the task's ``sample``.

    Returns:
        ``fid``, ``kid``, ``precision`` and ``recall``, see :func:`compare_features`.
    """
    test = task.images.test
    parts = test.chunks(AT_ONCE, task.config.workers)
    real = torch.cat([features(torch.from_numpy(part.pixels)) for part in parts])
    order = np.random.default_rng(seed).permutation(len(test))
    labels = torch.from_numpy(np.resize(test.labels[order], samples)).split(AT_ONCE)
    drawn = [features(task.sample(net, some, seed=seed + part, **how)) for part, some in enumerate(labels)]
    return compare_features(real, torch.cat(drawn))


def compare_features(real: Tensor, drawn: Tensor) -> dict[str, float]:
    """Compare two sets of images by their features.

    Args:
        real: features of real images, ``(n, features)`` float64.
        drawn: features of samples, ``(m, features)`` float64.

    Returns:
        ``fid`` and ``kid``, lower is better, and ``precision`` and ``recall`` as shares from 0 to 1.
    """
    distances = {**frechet_distance(real, drawn), **kernel_distance(real, drawn)}
    return distances | {"precision": coverage(drawn, real), "recall": coverage(real, drawn)}


def coverage(points: Tensor, by: Tensor, nearest: int = NEAREST) -> float:
    """Compute the share of points that a set covers (Kynkäänniemi et al. 2019, arXiv 1904.06991).

    Every member of the set covers a ball; its radius is the distance to the member's own k-th neighbour. Precision is
    the share of samples that real images cover. Recall is the share of real images that samples cover.

    Args:
        points: ``(n, features)``.
        by: the set, ``(m, features)``, with more than ``nearest`` members.
        nearest: k, the neighbour whose distance is the radius (default 3).
    """
    # + 1: the nearest of all is the member itself
    radius = torch.cat([torch.cdist(some, by).kthvalue(nearest + 1, dim=1).values for some in by.split(AT_ONCE)])
    inside = torch.cat([(torch.cdist(some, by) <= radius).any(1) for some in points.split(AT_ONCE)])
    return float(inside.double().mean())


def frechet_distance(real: Tensor, drawn: Tensor) -> dict[str, float]:
    """Compute ``fid``, the distance between Gaussians fitted to both sets; small sets have larger values."""
    metric = _torchmetrics().image.fid.FrechetInceptionDistance(_identity(real))
    return {"fid": float(_update(metric, real, drawn).compute())}


def kernel_distance(real: Tensor, drawn: Tensor) -> dict[str, float]:
    """Compute ``kid``, the mean over fixed random subsets; it is unbiased, so it can be below zero."""
    size = min(SUBSET, len(real), len(drawn))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # a warning that it keeps all features, which are in memory anyway
        metric = _torchmetrics().image.kid.KernelInceptionDistance(_identity(real), SUBSETS, size)
        torch.manual_seed(0)  # for the subsets
        mean, _ = _update(metric, real, drawn).compute()  # the deviation over overlapping subsets says little
    return {"kid": float(mean)}


def _update(metric: Any, real: Tensor, drawn: Tensor) -> Any:
    metric.update(real, real=True)
    metric.update(drawn, real=False)
    return metric


def _identity(features: Tensor) -> nn.Module:
    """Return a network for torchmetrics that passes on features, which are computed already."""
    net: Any = nn.Identity()
    net.num_features = features.shape[1]
    return net


def _torchmetrics() -> Any:
    try:
        import torchmetrics.image.fid
        import torchmetrics.image.kid
    except ImportError as error:
        raise UserError(f"features: need torchmetrics ({error}): pip install 'weit_rl[vision]'") from error
    return torchmetrics
