"""The 50 manipulation tasks of Meta-World as ``metaworld/TASK``, and its benchmarks as groups of environments."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.envs.gymnasium_mujoco import load_simulator
from weit_rl.envs.registry import ENV_GROUPS, ENVS, EnvEntry

if TYPE_CHECKING:
    import gymnasium

FAMILY, VERSION = "metaworld", "-v3"
ALL = """
    assembly basketball bin-picking box-close button-press-topdown button-press-topdown-wall button-press
    button-press-wall coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock door-open
    door-unlock hand-insert drawer-close drawer-open faucet-open faucet-close hammer handle-press-side handle-press
    handle-pull-side handle-pull lever-pull pick-place-wall pick-out-of-hole pick-place plate-slide plate-slide-side
    plate-slide-back plate-slide-back-side peg-insert-side peg-unplug-side soccer stick-push stick-pull push push-wall
    push-back reach reach-wall shelf-place sweep-into sweep window-open window-close
"""  # a copy of metaworld.env_dict.MT50_V3, since reading that imports the simulator
TEN = """
    reach push pick-place door-open drawer-open drawer-close button-press-topdown peg-insert-side window-open
    window-close
"""
TASKS, MT10 = ALL.split(), TEN.split()
ML45_TEST = ["bin-picking", "box-close", "hand-insert", "door-lock", "door-unlock"]
GROUPS = {
    "MT10": MT10,
    "MT50": TASKS,
    "ML45-train": [task for task in TASKS if task not in ML45_TEST],
    "ML45-test": ML45_TEST,
}
EPISODE_STEPS = 500
PACKAGES = ("gymnasium", "mujoco", "metaworld")


def make(gym_id: str, **kwargs: Any) -> gymnasium.Env:
    """Make the task ``metaworld/TASK-v3``.

    Raises:
        UserError: if Meta-World is missing or does not import.
    """
    load_metaworld(gym_id)
    import gymnasium

    if gym_id not in gymnasium.registry:
        words = {"task": gym_id.removeprefix(f"{FAMILY}/")}
        gymnasium.register(gym_id, f"{__name__}:sawyer_env", max_episode_steps=EPISODE_STEPS, kwargs=words)
    return gymnasium.make(gym_id, **kwargs)


def load_metaworld(gym_id: str) -> None:
    """Import the simulator and Meta-World; raise UserError if one is missing or does not import."""
    load_simulator(gym_id)
    try:
        import metaworld.policies  # noqa: F401
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        hint = "pip install 'weit_rl[metaworld]'"
        raise UserError(f"env {gym_id}: metaworld is missing or does not import ({reason}); {hint}") from error


def sawyer_env(**kwargs: Any) -> gymnasium.Env:
    """Make a task as a ``gymnasium.Env``; its class is imported only here."""
    from weit_rl.envs.wrappers.sawyer_env import SawyerEnv

    return SawyerEnv(**kwargs)


def scripted_expert(gym_id: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return Meta-World's scripted expert of a task, from one observation ``(39,)`` to an action ``(4,)`` in [-1, 1].

    Raises:
        UserError: if Meta-World is missing or does not import.
    """
    load_metaworld(gym_id)
    from metaworld.policies import ENV_POLICY_MAP

    kinds: Any = ENV_POLICY_MAP
    policy = kinds[gym_id.removeprefix(f"{FAMILY}/")]()

    def act(observation: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of every action that it expects to be clipped
            action = policy.get_action(observation.astype(np.float64))
        return np.clip(action, -1, 1).astype(np.float32)

    return act


def name_of(task: str) -> str:
    """Return the name of a task's environment."""
    return f"{FAMILY}/{task}{VERSION}"


for _task in TASKS:
    _name = name_of(_task)
    _more = {"packages": PACKAGES, "success": True, "expert": f"{__name__}:scripted_expert", "family": FAMILY}
    ENVS.add(_name, EnvEntry.of(_name, _name, f"{__name__}:make", EPISODE_STEPS, **_more))
for _group, _tasks in GROUPS.items():
    ENV_GROUPS.add(f"{FAMILY}/{_group}", tuple(name_of(task) for task in _tasks))
