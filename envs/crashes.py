"""Failed simulations: the errors that show one, and the largest share of failed episodes in a result."""

from __future__ import annotations

from typing import Any

import numpy as np

from weit_rl.common.errors import UserError

ADVICE = "repair the environment, or use another one"
# Exceptions of wrong code, missing libraries or a full disk. All other exceptions come from the simulator:
# ArithmeticError, ValueError (numpy.linalg.LinAlgError, "math domain error"), RuntimeError (dm_control's PhysicsError),
# and classes that a simulator defines, such as mujoco.FatalError.
PROGRAM_ERRORS = (
    *(AssertionError, AttributeError, BufferError, EOFError, ImportError, LookupError, MemoryError, NameError),
    *(NotImplementedError, OSError, RecursionError, StopIteration, SyntaxError, TypeError, Warning),
)


class BadAction(UserError, ValueError):
    """An action that an environment cannot take: of another shape, or not finite."""


def is_program_error(error: Exception) -> bool:
    """Return True for an error of a program or its caller, which is raised unchanged; False for a failed simulation."""
    from gymnasium.error import Error

    return isinstance(error, (*PROGRAM_ERRORS, UserError, Error))


def one_line(error: Exception) -> str:
    """Describe an error in one line of at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def one_number(reward: Any, name: str) -> float:
    """Convert a reward, a number or an array of one, to a float; UserError for anything else."""
    if isinstance(reward, float):
        return float(reward)
    value = np.asarray(reward)
    if value.dtype.kind not in "biuf" or value.size != 1:
        what = "None" if reward is None else f"an array of shape {value.shape}" if value.ndim else repr(reward)[:60]
        raise UserError(f"env {name}: the reward of its step is {what}; return one number, such as the sum")
    return float(value.item())


def check_failure_rate(name: str, failed: int, episodes: int, advice: str = ADVICE) -> None:
    """Raise UserError if the simulation failed in most episodes, since their returns then measure nothing."""
    if 2 * failed > episodes:
        raise UserError(
            f"env {name}: the simulation failed in {failed} of {episodes} episodes, so what they earned measures "
            f"nothing (a warning says why each failed); {advice}"
        )
