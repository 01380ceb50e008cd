"""The error types a user of weit_rl is meant to see."""


class UserError(Exception):
    """Bad input: one line saying what is wrong, where, and what to do.

    Every command prints it without a traceback and exits with code 2. Names that a file gives may be part of it: what
    cannot be printed, line breaks and a terminal's commands among it, is replaced.

    Args:
        message: the line.
    """

    def __init__(self, message: str = ""):
        super().__init__("".join(letter if letter.isprintable() else " " for letter in str(message)))


class NotDefined(UserError):
    """What was asked for lies outside what a method is defined for, such as a wider target of one that only cuts."""


class CannotWrite(UserError):
    """A file or folder that could not be written, as on a full disk: what was written before is whole and stays."""


class Interrupted(Exception):
    """A command was stopped from outside and has saved what is needed to go on.

    Args:
        message: one line for the user, such as how to resume.
        exit_code: 130 for Ctrl-C (default), 143 for SIGTERM.
    """

    def __init__(self, message: str, exit_code: int = 130):
        super().__init__(message)
        self.exit_code = exit_code


def stopped(stop: BaseException, message: str) -> Interrupted:
    """What a command raises in the place of Ctrl-C's or SIGTERM's exception, which knows no way to go on."""
    return Interrupted(message, getattr(stop, "exit_code", getattr(stop, "code", 130)))


class Follows(SystemExit):
    """The end of a process that trains with others, or started them, where another one says why."""


class Elsewhere(UserError):
    """An error of one process among several that the one that leads them does not have."""
