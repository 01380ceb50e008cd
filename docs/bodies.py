"""Draw docs/bodies.png: bodies of other sizes beside the originals, each row at one scale.

    python docs/bodies.py [PATH]

Where nothing can be drawn, set MUJOCO_GL=egl (GPU or Mesa) or MUJOCO_GL=osmesa (CPU).
"""

import itertools
import os
import sys
from pathlib import Path

import numpy as np

from weit_rl.envs.body_heights import lowest
from weit_rl.envs.registry import env_entry

ROWS = {  # distance (m) and elevation (degrees) of the camera, what the joints are bent by in turn (rad), bodies
    "HalfCheetah": (2.6, -5, [0.0], ["", "torso=1.5", "limbs=0.6", "limbs=1.4", "segments=4"]),
    "Hopper": (3.0, -5, [-0.35, -0.4, 0.75], ["", "torso=2", "limbs=0.5", "limbs=1.4", "limbs=0.75:torso=0.5"]),
    "Walker2d": (
        3.0,
        -5,
        [-0.5, -0.3, 0.7, 0, 0, 0],
        ["", "torso=2", "limbs=0.5", "limbs=1.4", "limbs=0.75:torso=0.5"],
    ),
    "Ant": (3.3, -30, [0.0, 0.2], ["", "legs=6", "legs=3", "limbs=1.5", "legs=8:limbs=0.75"]),
    "Swimmer": (6.5, -89, [0.7, -0.7], ["", "links=2", "links=6", "limbs=0.5", "links=4:torso=2"]),
}
WIDTH, HEIGHT, CAPTION = 240, 170, 18  # pixels
PARTS = np.array([[0.9, 0.4, 0.1, 1], [0.15, 0.4, 0.75, 1], [0.3, 0.65, 0.25, 1]])  # of the parts of a body in turn
FLOOR = [0.55, 0.55, 0.52, 1]


def pose(model, bends):
    """A body with its joints inside their limits and bent, and the floor where it stands then."""
    import mujoco

    data = mujoco.MjData(model)
    for joint, bend in zip(np.flatnonzero(model.jnt_limited), itertools.cycle(bends)):
        low, high = model.jnt_range[joint]
        data.qpos[model.jnt_qposadr[joint]] = np.clip(np.clip(0, low, high) + np.copysign(bend, bend or 1), low, high)
    mujoco.mj_forward(model, data)
    data.geom_xpos[0, 2] = lowest(model, data)
    return data


def picture(name, distance, elevation, bends):
    """Draw one body on a plain floor: ``(HEIGHT, WIDTH, 3)``."""
    import mujoco

    env = env_entry(name).make()
    model = env.unwrapped.model
    model.geom_matid[:] = -1
    model.geom_rgba[0], model.geom_rgba[1:] = FLOOR, PARTS[model.geom_bodyid[1:] % len(PARTS)]
    model.vis.headlight.ambient[:] = 0.45
    data = pose(model, bends)
    camera, points = mujoco.MjvCamera(), data.geom_xpos[1:]
    camera.distance, camera.elevation, camera.azimuth = distance, elevation, 90
    camera.lookat = (points.min(axis=0) + points.max(axis=0)) / 2
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        renderer.update_scene(data, camera)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        return renderer.render()


def sheet():
    """Put all bodies with their names into one image."""
    from PIL import Image, ImageDraw

    columns, height = max(len(row[-1]) for row in ROWS.values()), HEIGHT + CAPTION
    image = Image.new("RGB", (WIDTH * columns, height * len(ROWS)), "white")
    draw = ImageDraw.Draw(image)
    for row, (env, (*view, bodies)) in enumerate(ROWS.items()):
        for column, body in enumerate(bodies):
            name, corner = f"{env}:{body}".rstrip(":"), (column * WIDTH, row * height)
            image.paste(Image.fromarray(picture(name, *view)), corner)
            draw.text((corner[0] + 4, corner[1] + HEIGHT + 3), name, fill="black")
    return image


if __name__ == "__main__":
    os.environ.setdefault("MUJOCO_GL", "egl")
    path = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
    sheet().save(path, optimize=True)
    print(path)
