"""The error types a user of weit_rl is meant to see."""


class UserError(Exception):
    """Bad input: one line saying what is wrong, where, and what to do.

    Every command prints it without a traceback and exits with code 2.
    """


class NotDefined(UserError):
    """What was asked for lies outside what a method is defined for, such as a wider target of one that only cuts."""


class Interrupted(Exception):
    """A command was stopped from outside and has saved what is needed to go on.

    Args:
        message: one line for the user, such as how to resume.
        exit_code: 130 for Ctrl-C (default), 143 for SIGTERM.
    """

    def __init__(self, message: str, exit_code: int = 130):
        super().__init__(message)
        self.exit_code = exit_code
