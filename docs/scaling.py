"""Draw docs/scaling.png: how time and memory of a step grow, from the table that benchmarks/scaling/run.py wrote.

python docs/scaling.py [PATH]
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).parent
TABLE = FOLDER.parent / "benchmarks/scaling/README.md"
TIMES = [1, 2, 4, 8, 16]
LINES = {  # columns, and how they are drawn
    "time of dense step": "C0--o",
    "time of pre-training step": "C0-o",
    "time of composing": "C2-^",
    "memory of dense step": "C1--s",
    "memory of pre-training step": "C1-s",
}


def sweeps(text):
    """Yield for every heading: its axis, the values on it, and by column the cells and their exponent."""
    for part in text.split("\n## ")[1:]:
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
        names, _, *cells = rows
        columns = dict(zip(names, zip(*cells, strict=True), strict=True))
        yield part.splitlines()[0], [int(value) for value in columns[names[0]][:-1]], columns


def draw(axes, title, values, columns):
    """Draw one sweep with logarithmic axes and the fitted exponents."""
    for name, style in LINES.items():
        *cells, exponent = columns[name]
        axes.loglog(values, [float(cell) for cell in cells], style, label=f"{name}: {float(exponent) + 0.0:.2f}", ms=4)
    axes.set_xticks(values, map(str, values))
    axes.set_yticks(TIMES, map(str, TIMES))
    axes.minorticks_off()
    axes.set(title=title, xlabel=title.split(" (")[0], ylabel="times the first value's")
    axes.legend(title="exponent of", loc="upper left", fontsize=7, title_fontsize=7)
    axes.grid(alpha=0.3)


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "scaling.png"
    found = list(sweeps(TABLE.read_text()))
    figure, panels = plt.subplots(1, len(found), figsize=(4.2 * len(found), 3.9), sharey=True, layout="constrained")
    for axes, sweep in zip(panels, found, strict=True):
        draw(axes, *sweep)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
