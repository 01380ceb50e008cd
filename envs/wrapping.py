"""Functions that put environments into this project's wrappers; Gymnasium is imported when one is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.pixels import STACK

if TYPE_CHECKING:
    import gymnasium


def ends_at_crash(env: gymnasium.Env, name: str) -> gymnasium.Env:
    """End an episode as failed (``terminated``) in a step in which the simulation fails.

    A step fails if it raises an error (``crashes.PROGRAM_ERRORS`` are raised unchanged), if its observation or reward
    is not finite, or if MuJoCo finds the simulation unstable; MuJoCo alone would reset the body and continue. The step
    then returns the last observation again, with a reward of 0 and the reason as ``info["crashed"]``. A failure in the
    first step of an episode raises UserError, since nothing was simulated.

    Args:
        env: an environment with the observations and actions of policies here.
        name: of the environment, for messages.
    """
    from weit_rl.envs.wrappers.ends_at_crash import EndsAtCrash

    return EndsAtCrash(env, name)


def flatten_observations(env: gymnasium.Env) -> gymnasium.Env:
    """Show observations, a Box of any shape or a Dict of them, as float32 vectors."""
    from weit_rl.envs.wrappers.flat_observations import FlatObservations

    return FlatObservations(env)


def rescale_actions(env: gymnasium.Env, box: ActionBox) -> gymnasium.Env:
    """Let an environment with actions in ``box`` act in [-1, 1]; return it unchanged if it does already."""
    if box.is_unit:
        return env
    from weit_rl.envs.wrappers.unit_actions import UnitActions

    return UnitActions(env)


def show_pictures(env: gymnasium.Env, name: str, edge: int) -> gymnasium.Env:
    """Show ``(9, edge, edge)`` uint8 observations, the newest frame last; after a reset all frames are the same.

    This is the format of Stable-Baselines3's and CleanRL's convolutional policies.
    """
    from gymnasium.wrappers import FrameStackObservation

    from weit_rl.envs.wrappers.pictures import JoinedFrames, Pictures

    return JoinedFrames(FrameStackObservation(Pictures(env, name, edge), STACK))


def show_pictures_and_state(env: gymnasium.Env, name: str, edge: int) -> gymnasium.Env:
    """Show ``(state + 9 * edge * edge,)`` float32 observations of an environment of flat states.

    The state comes first, then the flattened bytes of :func:`show_pictures`.
    """
    from gymnasium.wrappers import FrameStackObservation

    from weit_rl.envs.wrappers.pictures import JoinedState, PicturesBeside

    return JoinedState(FrameStackObservation(PicturesBeside(env, name, edge), STACK))
