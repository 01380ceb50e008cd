"""Gymnasium's own environments with other bodies, refused if a body cannot stand."""

from __future__ import annotations

import copy
import functools
import inspect
import pkgutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.envs import gymnasium_mujoco
from weit_rl.envs.bodies import Body
from weit_rl.envs.body_editing import build
from weit_rl.envs.body_heights import lifts_torso
from weit_rl.envs.registry import ENVS

if TYPE_CHECKING:
    import gymnasium

SETTLE = {  # steps without actions in which no episode may end; later a body on one or two feet falls anyway
    "HalfCheetah": 60,
    "Hopper": 30,
    "Walker2d": 30,
    "Ant": 100,
    "Swimmer": 30,
}


def make(gym_id: str, **kwargs: Any) -> gymnasium.Env:
    """Make the environment of a body by its id, such as ``HalfCheetah-limbs0.75-v5``.

    Raises:
        UserError: if the simulator is missing, or the body cannot stand.
    """
    gymnasium_mujoco.load_simulator(gym_id)
    import gymnasium

    if gym_id not in gymnasium.registry:
        body = Body.of_id(gym_id)
        check_stands(body)
        steps = ENVS.get(body.env).episode_steps
        gymnasium.register(gym_id, f"{__name__}:body_env", max_episode_steps=steps, kwargs={"name": body.name})
    return gymnasium_mujoco.make(gym_id, **kwargs)


def body_env(name: str, **kwargs: Any) -> gymnasium.Env:
    """Make Gymnasium's environment of the original with another model; its height limits grow with the body."""
    import mujoco

    original, built, rules = _parts(name)

    class BodyEnv(original):  # type: ignore[misc, valid-type]
        def _initialize_simulation(self) -> tuple[Any, Any]:
            model = copy.deepcopy(built)
            screen = model.vis.global_
            screen.offwidth, screen.offheight = max(screen.offwidth, self.width), max(screen.offheight, self.height)
            return model, mujoco.MjData(model)

        def __reduce__(self) -> tuple[Any, ...]:
            # Unpickled by making it again, as Gymnasium's own environments are.
            return functools.partial(body_env, name, **kwargs), ()

    return BodyEnv(**{**rules, **kwargs})


@functools.cache
def _parts(name: str) -> tuple[Any, Any, dict[str, Any]]:
    """Return the original's class, the model of the body, and the constructor arguments that depend on its height."""
    import gymnasium

    body = Body.parse(name)
    original: Any = pkgutil.resolve_name(str(gymnasium.spec(f"{body.env}-v5").entry_point))
    arguments = inspect.signature(original).parameters
    assets = Path(inspect.getfile(original)).parent / "assets"
    model, growth = build(str(assets / arguments["xml_file"].default), body)
    healthy = arguments.get("healthy_z_range")
    return original, model, {healthy.name: tuple(growth * z for z in healthy.default)} if healthy else {}


def check_stands(body: Body) -> None:
    """Check that the limbs reach below the torso, and that the body survives some steps without actions.

    Raises:
        UserError: if they do not, the simulation is unstable, or the episode ends.
    """
    env: Any = body_env(body.name)
    env.reset(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unstable simulation is reported below
        ended = any(env.step(np.zeros(env.model.nu))[2] for _ in range(SETTLE[body.env]))
    reasons = {
        "its limbs do not reach below its torso": not lifts_torso(env.model),
        "its simulation is unstable": env.data.warning.number.any() or not np.isfinite(env.state_vector()).all(),
        "its episodes end before it has acted": ended,
    }
    for reason in (reason for reason, found in reasons.items() if found):
        values = ", ".join(f"{parameter}={value:g}" for parameter, value in body.values.items())
        raise UserError(f"env {body.name}: this body cannot stand, {reason}; bring {values} nearer to the original's")
