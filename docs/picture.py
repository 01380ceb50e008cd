"""Make the moving picture of the README: one body at three sizes of network, all from the bank that ships.

    python docs/picture.py [--runs DIR] [--out docs/picture.gif]

trains the sizes tiny, small and base of HalfCheetah as ``weit_rl.train`` does by default (300 scaler steps, 300 steps
of the plain network; five minutes on one core) and plays one episode with each. Runs that are in DIR are used.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from weit_rl import train
from weit_rl.agents.evaluation import rollout
from weit_rl.agents.video import PROBE
from weit_rl.common.errors import UserError
from weit_rl.envs.floor import endless_floor
from weit_rl.envs.registry import env_entry
from weit_rl.envs.rendering import working_renderer
from weit_rl.options.command import compose
from weit_rl.storage.atomic_write import write_atomically
from weit_rl.training.checkpoint import load_network

ROOT = Path(__file__).parents[1]
ENV, SIZES, SEED = "HalfCheetah", ("tiny", "small", "base"), 0
FRAMES, SHOWN = 90, 50  # frames of the picture, one for each environment step; milliseconds of each, as in life
SIDE, TOP, HEIGHT = 288, 116, 160  # of a panel in pixels: its width, the rows cut off above, the rows that are shown
CAPTION, GAP, COLOURS = 42, 6, 64


def trained(size: str, runs: Path) -> dict[str, Any]:
    """Train a size with the default settings unless its run is there; returns its report."""
    folder = runs / size
    if not (folder / "evaluation.json").exists():
        train.main(compose("train", [f"env={ENV}", f"size={size}", f"run_dir={folder}"]))
    report: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return report


def played(checkpoint: Path) -> tuple[list[np.ndarray], float]:
    """Play one episode; returns its first frames, and the median milliseconds that the network takes for an action."""
    net, _ = load_network(checkpoint)
    net.eval()
    act, seconds, frames = net.act, [], []

    def timed(*window: torch.Tensor) -> torch.Tensor:
        begin = time.thread_time()  # of this thread alone: other work on the machine does not count
        action = act(*window)
        seconds.append(time.thread_time() - begin)
        return action

    net.act = timed
    env = env_entry(ENV).make(render_mode="rgb_array", width=SIDE, height=SIDE)

    def keep(step: int, returns: np.ndarray) -> None:
        if step < FRAMES:
            with endless_floor(env):
                frames.append(np.asarray(env.render())[TOP : TOP + HEIGHT])

    rollout(net, [env], [SEED], keep)
    env.close()
    return frames, 1000 * statistics.median(seconds)


def captioned(frame: np.ndarray, lines: list[str], fonts: list[ImageFont.FreeTypeFont]) -> Image.Image:
    """A frame with its lines of text below it."""
    panel = Image.new("RGB", (SIDE, HEIGHT + CAPTION), "white")
    panel.paste(Image.fromarray(frame), (0, 0))
    draw = ImageDraw.Draw(panel)
    for row, (line, font) in enumerate(zip(lines, fonts, strict=True)):
        draw.text((SIDE // 2, HEIGHT + 4 + 19 * row), line, fill="black", font=font, anchor="ma")
    return panel


def beside(panels: list[Image.Image]) -> Image.Image:
    """Panels in one row."""
    row = Image.new("RGB", (len(panels) * (SIDE + GAP) - GAP, HEIGHT + CAPTION), "white")
    for place, panel in enumerate(panels):
        row.paste(panel, (place * (SIDE + GAP), 0))
    return row


def moving(rows: list[Image.Image]) -> bytes:
    """An endless GIF; all frames share one palette, so that only what moves is stored."""
    palette = rows[len(rows) // 2].quantize(COLOURS)
    first, *rest = (row.quantize(palette=palette, dither=Image.Dither.NONE) for row in rows)
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=SHOWN, loop=0, optimize=False)
    return buffer.getvalue()


def fonts() -> list[ImageFont.FreeTypeFont]:
    """Bold for the first line, plain for the second; those that matplotlib brings."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [ImageFont.truetype(str(folder / name), 14) for name in ("DejaVuSans-Bold.ttf", "DejaVuSans.ttf")]


def main(runs: Path, out: Path) -> Path:
    """Make the picture; returns its path.

    Raises:
        UserError: if nothing renders, before anything is trained.
    """
    os.environ["MUJOCO_GL"] = working_renderer(f"env={ENV}", PROBE, ENV)
    torch.set_num_threads(1)
    panels = []
    for size in SIZES:
        report = trained(size, runs)
        frames, ms = played(runs / size / "checkpoints" / "last.safetensors")
        name = report["size"].replace("x", " \N{MULTIPLICATION SIGN} ")
        lines = [f"{name}, {report['parameters']:,} weights"]
        lines.append(f"{ms:.1f} ms per action, return {report['return_mean']:,.0f}")
        panels.append([captioned(frame, lines, fonts()) for frame in frames])
        print(*lines, sep=", ")
    write_atomically(out, moving([beside(list(row)) for row in zip(*panels, strict=True)]))
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "build" / "picture", metavar="DIR")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "picture.gif")
    arguments = parser.parse_args()
    try:
        print(main(arguments.runs, arguments.out))
    except UserError as error:
        print(f"docs/picture.py: error: {error}", file=sys.stderr)
        sys.exit(2)
