"""The errors that users of weit_rl see."""


class UserError(Exception):
    """Bad input: one line that says what is wrong, where, and what to do.

    Every command prints the line without a traceback and exits with code 2. The line may contain names read from a
    file, so every character that cannot be printed (a line break, a control code) becomes a space.

    Args:
        message: the line.
    """

    def __init__(self, message: str = ""):
        super().__init__("".join(letter if letter.isprintable() else " " for letter in str(message)))


class NotDefined(UserError):
    """A request outside the range of a method, such as a wider target for a method that only prunes."""


class CannotWrite(UserError):
    """A file or folder that could not be written, for example on a full disk; earlier files stay whole."""


class Interrupted(Exception):
    """The end of a command that was stopped from outside and has saved what it needs to resume.

    Args:
        message: one line for the user, such as how to resume.
        exit_code: 130 for Ctrl-C (default), 143 for SIGTERM.
    """

    def __init__(self, message: str, exit_code: int = 130):
        super().__init__(message)
        self.exit_code = exit_code


def interrupted_by(stop: BaseException, message: str) -> Interrupted:
    """Return the ``Interrupted`` for a caught Ctrl-C or SIGTERM, with its exit code and a line on how to resume."""
    return Interrupted(message, getattr(stop, "exit_code", getattr(stop, "code", 130)))


class QuietExit(SystemExit):
    """The quiet exit of one process in a group whose leader reports the error."""


class PeerError(UserError):
    """An error that another process of the group has, but not the leader, which reports it."""
