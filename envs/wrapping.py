"""Put environments into the wrappers of this project; Gymnasium is imported when one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.pixels import STACK

if TYPE_CHECKING:
    import gymnasium


def ends_at_crash(env: gymnasium.Env, name: str) -> gymnasium.Env:
    """End episodes, as failed (``terminated``), in a step that the environment's simulator does not survive.

    That is one that raises an error (see ``crashes.MISTAKES`` for those that are raised as they are), gives an
    observation or a reward that is no number, or in which MuJoCo finds the simulation unstable: left alone it would put
    the body back to where it began and go on. The last observation comes once more, with a reward of 0 and the reason
    as ``info["crashed"]``. A failure in the first step of an episode is a UserError: nothing was simulated.

    Args:
        env: acts and is seen as policies here want it.
        name: of the environment, for messages.
    """
    from weit_rl.envs.wrappers.ends_at_crash import EndsAtCrash

    return EndsAtCrash(env, name)


def flat_float32(env: gymnasium.Env) -> gymnasium.Env:
    """Show observations, a box of any shape or a Dict of them, as float32 vectors."""
    from weit_rl.envs.wrappers.flat_observations import FlatObservations

    return FlatObservations(env)


def unit_actions(env: gymnasium.Env, box: ActionBox) -> gymnasium.Env:
    """Let an environment whose actions lie in ``box`` act in [-1, 1]; return it as it is where it does."""
    if box.is_unit:
        return env
    from weit_rl.envs.wrappers.unit_actions import UnitActions

    return UnitActions(env)


def seen_in_pictures(env: gymnasium.Env, name: str, edge: int) -> gymnasium.Env:
    """Show ``(9, edge, edge)`` uint8 observations, the newest frame last; at first all are the same.

    This is what Stable-Baselines3's and CleanRL's convolutional policies take.
    """
    from gymnasium.wrappers import FrameStackObservation

    from weit_rl.envs.wrappers.pictures import JoinedFrames, Pictures

    return JoinedFrames(FrameStackObservation(Pictures(env, name, edge), STACK))


def seen_in_both(env: gymnasium.Env, name: str, edge: int) -> gymnasium.Env:
    """Show ``(state + 9 * edge * edge,)`` float32 observations of an environment of flat states.

    The state comes first, then the bytes of what :func:`seen_in_pictures` gives, flat.
    """
    from gymnasium.wrappers import FrameStackObservation

    from weit_rl.envs.wrappers.pictures import JoinedState, PicturesBeside

    return JoinedState(FrameStackObservation(PicturesBeside(env, name, edge), STACK))
