"""Run a command ``python -m weit_rl.<verb>``: options, help, one-line errors, exit codes, signals.

A verb module ends with ``if __name__ == "__main__": command("train", main)`` and imports torch and other heavy
things inside ``main``: then ``--help`` and a misspelt option are answered at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from weit_rl.common.cpu_cores import share_cores
from weit_rl.common.errors import Interrupted, PeerError, QuietExit, UserError
from weit_rl.common.output import guard_output, print_error, print_line
from weit_rl.common.process_start import exit_process, local_rank_and_count, process_count, started_by_command
from weit_rl.options.hydra_words import is_for_hydra
from weit_rl.options.words import CONTROL, VISION_MODES, compose, config_name, help_text, words_of
from weit_rl.storage.atomic_write import is_disk_error

__all__ = ["CONTROL", "VISION_MODES", "command", "compose", "config_name", "help_text", "words_of"]

ASKS_FOR_TEXT = {
    "-h",
    "--help",
    "mode=inspect",
    "mode=describe",
    "--cfg",
    "--info",
    "--hydra-help",
}  # words of commands that do nothing but print
NO_TEMPORARY = "No usable temporary directory"  # what Python says where all of them are full or read-only


def command(
    verb: str,
    main: Callable[[Any], Any],
    argv: Sequence[str] | None = None,
    check: Callable[[str, Any], None] = lambda verb, config: None,
) -> NoReturn:
    """Run a verb as a process does, and exit.

    Exit codes: 0 done, 2 bad input (one line on stderr, no traceback), 130 after Ctrl-C, 143 after SIGTERM, 1 where
    another process ended that the training shared its work with. What becomes of its output decides nothing (a reader
    that left, as in ``| head``, a full disk), but for ``--help`` and modes that only print: 1 where that failed.

    Args:
        verb: of the command.
        main: does the work, given the composed config.
        argv: the words after the command (default: those of this process).
        check: looks at the composed config before ``main`` loads anything heavy (default: nothing is looked at).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(words):
        sys.exit(_printed(verb, words, lambda: _help(verb, words)))
    share_cores(local_rank_and_count()[1])
    # Unwinds the stack as Ctrl-C does, so that files are closed; the training loop puts its own handler over this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    code = _printed(verb, words, lambda: _run(verb, main, words, check))
    if started_by_command():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the rest where one process ended; this one has, too
    if process_count() > 1:
        exit_process(code)
    sys.exit(code)


def _help(verb: str, words: list[str]) -> int:
    try:
        print_line(help_text(verb, words))
    except UserError as error:
        return _say(verb, f"error: {error}", 2)
    return 0


def _printed(verb: str, words: list[str], work: Callable[[], int]) -> int:
    """Return the exit code of work; 1 if it could not print its text. A reader that left, as of rich, needs no line."""
    with guard_output() as out:
        code = work()
        out.flush()
        if code or out.error is None or not ASKS_FOR_TEXT & set(words):
            return code
        return 1 if isinstance(out.error, BrokenPipeError) else _say(verb, f"error: standard output: {out.error}", 1)


def _run(verb: str, main: Callable[[Any], Any], words: list[str], check: Callable[..., None]) -> int:
    """Call main and turn what a user may cause into one line and an exit code; a bug keeps its traceback."""
    try:
        if is_for_hydra(words):
            from weit_rl.options.hydra_runs import run_by_hydra

            run_by_hydra(verb, main, words, check)
            return 0
        config = compose(verb, words)
        check(verb, config)
        main(config)
        return 0
    except PeerError as error:
        return _say(verb, f"error: {error}", 2, everywhere=True)
    except UserError as error:
        return _say(verb, f"error: {error}", 2)
    except Interrupted as stop:
        return _say_stop(verb, str(stop), stop.exit_code)
    except KeyboardInterrupt:
        return _say_stop(verb, "interrupted", 130)
    except QuietExit as end:
        return int(end.code or 0)
    except SystemExit as stop:
        if stop.code != 143:
            raise
        return _say_stop(verb, "stopped by SIGTERM", 143)
    except OSError as error:
        if NO_TEMPORARY in str(error):
            return _say(verb, f"error: {error.strerror}; set TMPDIR to a folder that can be written", 2)
        if not is_disk_error(error):
            raise
        where = error.filename or "disk"
        return _say(verb, f"error: {where}: {error.strerror}; free some space there or choose another place", 2)


def _say(verb: str, line: str, code: int, everywhere: bool = False) -> int:
    """Print a line; of processes that share a run one speaks for all."""
    if everywhere or local_rank_and_count()[0] == 0:
        print_error(f"weit_rl {verb}: {line}".replace("\n", " "))
    return code


def _say_stop(verb: str, line: str, code: int) -> int:
    """Print why a run stopped; a command that started processes has printed it, with the first one that stopped."""
    return code if started_by_command() else _say(verb, line, code)
