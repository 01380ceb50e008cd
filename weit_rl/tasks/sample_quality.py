"""How near drawn images are to real ones, by the features that a classifier has of both.

Fréchet distance (FID, arXiv 1706.08500), kernel distance (KID, arXiv 1801.01401), precision and recall (arXiv
1904.06991). With the features of a classifier trained here, none of them compares with values that Inception's gave;
``features=inception`` takes those, where its weights are.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.home import expanded
from weit_rl.data.images import Images
from weit_rl.tasks.inception import NAME as INCEPTION
from weit_rl.tasks.inception import Inception
from weit_rl.training.checkpoint import load_network
from weit_rl.training.run_folder import RunFolder

NEAREST = 3  # neighbours by which precision and recall measure how far a set reaches, as in the paper
LEAST = NEAREST + 1  # images of a set
SUBSETS, SUBSET = 100, 1000  # of KID, and images of each; all where a set has fewer
AT_ONCE = 256  # images that are drawn together, or rows of a distance matrix


class Features(nn.Module):
    """What a classifier gives to its last layer, ``(n, features)`` in float64.

    Args:
        net: one of timm's, as ``model=vit`` and ``convnext`` are; its last layer is taken off.
    """

    def __init__(self, net: Any):
        super().__init__()
        net.reset_classifier(0)
        self.net = net.eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Of bytes ``(n, C, H, W)``; raises UserError for images of another shape than the classifier's."""
        device = next(self.net.parameters()).device
        return torch.cat([self.net(some.to(device)).double().cpu() for some in images.split(AT_ONCE)])


class Judge:
    """A network by whose features drawn images are compared with a test set's: a finished classifier, or Inception.

    Attributes:
        features: of it.
        name: its model, size and data.

    Args:
        run: the classifier's folder, or ``"inception"``.
        images: whose test set is meant.
        device: where it computes.

    Raises:
        UserError: if there is no such run, it is no classifier, one of other images, or there are too few to compare.
    """

    def __init__(self, run: str, images: Images, device: str = "cpu"):
        check_count(f"the test set of {images.name}", len(images.test))
        self.features, self.name = (Inception(), "InceptionV3") if run == INCEPTION else classifier(run)
        self.features.to(device)
        try:  # whether it takes such images
            self.features(torch.zeros(1, *images.test.shape, dtype=torch.uint8))
        except UserError as error:
            raise UserError(f"features={run}: {error}") from error
        _torchmetrics()


def classifier(run: str) -> tuple[nn.Module, str]:
    """The features of a run's network, and its model, size and data."""
    net, card = load_network(RunFolder.open(expanded(run)).checkpoint_path("last"))
    if card.get("task") != "classification":
        raise UserError(f"features={run}: is not of task=classification; give a classifier of such images")
    return Features(net), f"{card['model']} {'x'.join(map(str, card['size'][:2]))} of {card['data']}"


def check_count(name: str, count: int) -> None:
    """UserError for too few images to compare."""
    if count < LEAST:
        raise UserError(f"{name}: {count} images are too few to compare, {LEAST} or more are needed")


def quality_of(task: Any, net: nn.Module, features: nn.Module, samples: int, seed: int, **how: Any) -> dict[str, float]:
    """Draws images of the test set's classes, in its shares, and compares them with it.

    Args:
        task: of diffusion.
        net: what draws.
        features: of images, such as a classifier's.
        samples: how many are drawn.
        seed: of the noise, and of the labels that are left over.
        how: they are drawn, options of the task's ``sample``.

    Returns:
        ``fid``, ``kid``, ``precision`` and ``recall``, see :func:`compared`.
    """
    test = task.images.test
    parts = test.chunks(AT_ONCE, task.config.workers)
    real = torch.cat([features(torch.from_numpy(part.pixels)) for part in parts])
    order = np.random.default_rng(seed).permutation(len(test))
    labels = torch.from_numpy(np.resize(test.labels[order], samples)).split(AT_ONCE)
    drawn = [features(task.sample(net, some, seed=seed + part, **how)) for part, some in enumerate(labels)]
    return compared(real, torch.cat(drawn))


def compared(real: Tensor, drawn: Tensor) -> dict[str, float]:
    """Distances between two sets by their features, ``(n, features)`` and ``(m, features)`` in float64.

    Returns:
        ``fid`` and ``kid``, smaller is nearer, and ``precision`` and ``recall`` as shares from 0 to 1.
    """
    distances = {**frechet_distance(real, drawn), **kernel_distance(real, drawn)}
    return distances | {"precision": covered(drawn, real), "recall": covered(real, drawn)}


def covered(points: Tensor, by: Tensor, nearest: int = NEAREST) -> float:
    """The share of points that lie within reach of a set: no further from one of it than its own neighbours are.

    Precision is the share of drawn images within reach of the real ones, recall the share of real ones within reach of
    the drawn (Kynkäänniemi et al. 2019, arXiv 1904.06991).

    Args:
        points: ``(n, features)``.
        by: the set, ``(m, features)``, more than ``nearest``.
        nearest: the neighbour whose distance is the reach of each of the set (default 3).
    """
    # the nearest of all is the point itself
    reach = torch.cat([torch.cdist(some, by).kthvalue(nearest + 1, dim=1).values for some in by.split(AT_ONCE)])
    inside = torch.cat([(torch.cdist(some, by) <= reach).any(1) for some in points.split(AT_ONCE)])
    return float(inside.double().mean())


def frechet_distance(real: Tensor, drawn: Tensor) -> dict[str, float]:
    """``fid``: between the Gaussians of the sets' means and covariances; smaller sets look further apart."""
    metric = _torchmetrics().image.fid.FrechetInceptionDistance(_as_they_are(real))
    return {"fid": float(_updated(metric, real, drawn).compute())}


def kernel_distance(real: Tensor, drawn: Tensor) -> dict[str, float]:
    """``kid``, the mean over subsets, always the same ones; unbiased, and so below zero at times."""
    size = min(SUBSET, len(real), len(drawn))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # that it keeps all features: they are kept anyway
        metric = _torchmetrics().image.kid.KernelInceptionDistance(_as_they_are(real), SUBSETS, size)
        torch.manual_seed(0)  # of the subsets
        mean, _ = _updated(metric, real, drawn).compute()  # over subsets that share images its deviation says little
    return {"kid": float(mean)}


def _updated(metric: Any, real: Tensor, drawn: Tensor) -> Any:
    metric.update(real, real=True)
    metric.update(drawn, real=False)
    return metric


def _as_they_are(features: Tensor) -> nn.Module:
    """torchmetrics' own network: it is given features already."""
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
