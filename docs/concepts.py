"""Draw the pictures of docs/concepts.md.

    python docs/concepts.py [FOLDER]

writes them below docs/concepts; every weight in them is composed, cut or resized by the library itself.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from torch import nn

from weit_rl import Plan, Rule, TemplateBank, WeiT
from weit_rl.core.plan import LAYER
from weit_rl.core.resize import draw_shares, layer_map, resize

TILE, COLOURS = 4, "RdBu_r"
PLAN = Plan(
    (
        Rule(rf"{LAYER}\.weight", "linear", (TILE, TILE), 1, ("stream", "stream"), 1),
        Rule(rf"{LAYER}\.bias", "bias", None, 1, ("stream",)),
    )
)


def network(width, depth=1):
    """Square linear layers."""
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(depth)))


def composed(width, depth=1, rank=3):
    """The same, made of templates drawn for the picture."""
    torch.manual_seed(0)
    return WeiT(network(width, depth), TemplateBank.from_plan(PLAN, rank, seed=2), PLAN, seed=3)


def matrix(axes, x, tile=None, title="", most=None):
    """A matrix as colours up to ``most`` (default: its own largest entry), with lines around tiles."""
    x = torch.as_tensor(x).detach()
    most = float(x.abs().max()) if most is None else most
    axes.imshow(x, cmap=COLOURS, vmin=-most, vmax=most)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)
    for place in range(tile or x.shape[0], x.shape[0], tile or x.shape[0]):
        axes.axhline(place - 0.5, color="black", linewidth=0.8)
    for place in range(tile or x.shape[1], x.shape[1], tile or x.shape[1]):
        axes.axvline(place - 0.5, color="black", linewidth=0.8)


def composition():
    """Three terms of a weight, and their sum."""
    net = composed(12)
    scalers, templates = net.scalers["*.weight"][0, 0].detach(), net.bank.templates["linear"].detach()
    figure, rows = plt.subplots(3, 4, figsize=(8.2, 5.6), width_ratios=[3, 3, 5, 6])
    for n, (scaler, template, term, _) in enumerate(rows):
        matrix(scaler, scalers[n], 1, f"scalers $S_{n + 1}$ (3 x 3)" if n == 0 else f"$S_{n + 1}$")
        matrix(template, templates[n], None, f"template $T_{n + 1}$ (4 x 4)" if n == 0 else f"$T_{n + 1}$")
        matrix(term, torch.kron(scalers[n], templates[n]), TILE, f"kron($S_{n + 1}$, $T_{n + 1}$)")
    for axes in rows[:, 3]:
        axes.remove()
    whole = figure.add_subplot(rows[0, 3].get_gridspec()[:, 3])
    matrix(whole, net.materialize()[0].weight, TILE, "their sum: the weight $W$ (12 x 12)")
    figure.tight_layout()
    return figure


def subnetworks():
    """A smaller network inside a full one: the first channels, evenly spaced layers."""
    net, depth = composed(16, 5), 5
    layers = net.weights()["*.weight"].detach()[:, 0]
    figure, axes = plt.subplots(1, depth, figsize=(8.2, 2.1))
    for index, axis in enumerate(axes):
        matrix(axis, layers[index], TILE, f"layer {index + 1}")
        if index in layer_map(depth, 3):
            axis.add_patch(Rectangle((-0.5, -0.5), 8, 8, fill=False, edgecolor="#d08000", linewidth=4))
    figure.suptitle("width 8, depth 3 (framed) inside width 16, depth 5", fontsize=10, y=0.99)
    figure.tight_layout()
    return figure


def resizing():
    """Scalers of one layer cut, and repeated with shares along the inputs."""
    net = composed(8)
    own, sizes = net.own(), {"narrower: 4": 4, "the source: 8": 8, "wider: 16": 16}
    figure, axes = plt.subplots(2, 3, figsize=(8.2, 5.2), height_ratios=[2, 3])
    templates, source = net.bank.templates["linear"].detach(), net.materialize()[0].weight
    largest = [float(x.detach().abs().max()) for x in (own["*.weight"][0, 0, 0], source)]
    for column, (title, width) in zip(axes.T, sizes.items(), strict=True):
        layout = PLAN.layout(network(width))
        scalers = resize(own, net.layout, layout, factored=True)["*.weight"][0, 0].detach()
        matrix(column[0], scalers[0], 1, f"{title}\n$S_1$ ({width // TILE} x {width // TILE})", largest[0])
        weight = sum(torch.kron(s, t) for s, t in zip(scalers, templates, strict=True))
        matrix(column[1], weight, TILE, f"$W$ ({width} x {width})", largest[1])
    parts = ", ".join(f"{share:.2g}" for share in draw_shares(2, 4, 1, torch.Generator().manual_seed(0)))
    axes[0, 2].set_xlabel(f"columns times their shares {parts}", fontsize=8)
    figure.tight_layout(h_pad=2)
    return figure


def stages():
    """Draw which parts are trained in each stage."""
    boxes = {
        "pre-training": "templates\nscalers of the full size\nfree parameters",
        "a new size": "scalers resized from\nthe bank's, no step",
        "scaler stage": "scalers, free parameters;\ntemplates frozen",
        "plain stage": "all weights of the\nmaterialised network",
    }
    figure, axes = plt.subplots(figsize=(8.2, 1.5))
    axes.set(xlim=(0, 4), ylim=(0, 1))
    axes.axis("off")
    for place, (name, text) in enumerate(boxes.items()):
        axes.add_patch(Rectangle((place + 0.04, 0.05), 0.84, 0.62, facecolor="#eef3f8", edgecolor="#33627f"))
        axes.text(place + 0.46, 0.36, text, ha="center", va="center", fontsize=8)
        axes.text(place + 0.46, 0.76, name, ha="center", fontsize=9, weight="bold")
        if place:
            axes.annotate("", (place + 0.04, 0.36), (place - 0.12, 0.36), arrowprops={"arrowstyle": "->"})
    figure.tight_layout(pad=0.2)
    return figure


def main(folder):
    """Draw all pictures; returns their paths."""
    plt.rcParams.update({"svg.hashsalt": "weit_rl", "image.composite_image": False})  # the same file every time
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for draw in (composition, subnetworks, resizing, stages):
        paths.append(folder / f"{draw.__name__}.svg")
        draw().savefig(paths[-1], metadata={"Date": None}, facecolor="white")
        plt.close()
    return paths


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix("")
    print(*main(where), sep="\n")
