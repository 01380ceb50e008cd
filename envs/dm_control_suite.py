"""The tasks of the DeepMind control suite as ``dmc/DOMAIN-TASK``, with observations in dm_control's order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weit_rl.envs.dm_control_loading import load_suite
from weit_rl.envs.registry import ENVS, EnvEntry

if TYPE_CHECKING:
    import gymnasium

TASKS = {  # a copy of dm_control.suite.ALL_TASKS, since reading that imports the simulator
    "acrobot": "swingup swingup_sparse",
    "ball_in_cup": "catch",
    "cartpole": "balance balance_sparse swingup swingup_sparse two_poles three_poles",
    "cheetah": "run",
    "dog": "stand walk trot run fetch",
    "finger": "spin turn_easy turn_hard",
    "fish": "upright swim",
    "hopper": "stand hop",
    "humanoid": "stand walk run run_pure_state",
    "humanoid_CMU": "stand walk run",
    "lqr": "lqr_2_1 lqr_6_2",
    "manipulator": "bring_ball bring_peg insert_ball insert_peg",
    "pendulum": "swingup",
    "point_mass": "easy hard",
    "quadruped": "walk run escape fetch",
    "reacher": "easy hard",
    "stacker": "stack_2 stack_4",
    "swimmer": "swimmer6 swimmer15",
    "walker": "stand walk run",
}
EPISODE_STEPS = 1000
PACKAGES = ("gymnasium", "mujoco", "dm-control")


def make(gym_id: str, **kwargs: Any) -> gymnasium.Env:
    """Make the task ``dmc/DOMAIN-TASK``.

    Raises:
        UserError: if dm_control is missing or does not import.
    """
    load_suite(gym_id)
    import gymnasium

    if gym_id not in gymnasium.registry:
        domain, _, task = gym_id.removeprefix("dmc/").partition("-")
        words = {"domain": domain, "task": task}
        gymnasium.register(gym_id, f"{__name__}:suite_env", max_episode_steps=EPISODE_STEPS, kwargs=words)
    return gymnasium.make(gym_id, **kwargs)


def suite_env(**kwargs: Any) -> gymnasium.Env:
    """Make a task as a ``gymnasium.Env``; its class is imported only here."""
    from weit_rl.envs.wrappers.suite_env import SuiteEnv

    return SuiteEnv(**kwargs)


for _domain, _tasks in TASKS.items():
    for _task in _tasks.split():
        _name = f"dmc/{_domain}-{_task}"
        ENVS.add(_name, EnvEntry.of(_name, _name, f"{__name__}:make", EPISODE_STEPS, packages=PACKAGES))
