"""Names of bodies, the originals and a simulation at rest, for the tests of bodies."""

import gymnasium
import mujoco

from weit_rl.envs.body_parameters import BODIES
from weit_rl.envs.gymnasium_mujoco import load_simulator
from weit_rl.envs.registry import ENVS

ENVS.load()
load_simulator("bodies")
ORIGINALS = {name: gymnasium.make(f"{name}-v5").unwrapped for name in BODIES}
STRETCHED = [f"{name}:limbs=0.8:torso=1.25" for name in BODIES]
OTHERS = [*STRETCHED, "Hopper:limbs=0.5:torso=2", "Walker2d:limbs=2", "Ant:legs=3", "Ant:legs=6:limbs=1.5"]
OTHERS += ["HalfCheetah:segments=2", "HalfCheetah:segments=5:torso=2", "Swimmer:links=2", "Swimmer:links=12"]


def at_rest(model):
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return data
