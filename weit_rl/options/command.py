"""What every ``python -m weit_rl.<verb>`` shares: options, help, one-line errors, exit codes, signals.

A verb module ends with ``if __name__ == "__main__": command("train", main)`` and imports torch and other heavy
things inside ``main``: then ``--help`` and a misspelt option are answered at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from weit_rl.common.cpu_cores import share_cores
from weit_rl.common.errors import Elsewhere, Follows, Interrupted, UserError
from weit_rl.common.output import complain, guarded, say
from weit_rl.common.process_start import leave, local, ours, processes
from weit_rl.common.registry import unknown
from weit_rl.options.choices import usual_model
from weit_rl.options.option_fields import REQUIRED, Options
from weit_rl.options.option_table import Option, about, made, options, plain_config, value_at
from weit_rl.options.recipes import recipe_words
from weit_rl.storage.atomic_write import is_of_disk

CONTROL = "control"  # the task of every verb that names no other
VISION = "vision_"  # what the names of options for images begin with
ASKS_FOR_TEXT = {"-h", "--help", "mode=inspect", "mode=describe"}  # words of commands that do nothing but print
NO_TEMPORARY = "No usable temporary directory"  # what Python says where all of them are full or read-only
VISION_MODES = ("train", "pretrain", "evaluate", "sample", "export", "describe")


def command(
    verb: str,
    main: Callable[[Options], Any],
    argv: Sequence[str] | None = None,
    check: Callable[[str, Options], None] = lambda verb, config: None,
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
    share_cores(local()[1])
    # Unwinds the stack as Ctrl-C does, so that files are closed; the training loop puts its own handler over this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    code = _printed(verb, words, lambda: _run(verb, main, words, check))
    if ours():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the rest where one process ended; this one has, too
    if processes() > 1:
        leave(code)
    sys.exit(code)


def compose(verb: str, words: Sequence[str] = ()) -> Options:
    """The config of a verb, with ``key=value`` words applied.

    Hydra's own grammar for such words stumbles over paths with ``=``, commas, brackets or quotes; here everything
    behind the first ``=`` is the value, and a text is taken as it is. ``size=small`` means ``size.name=small``.

    Args:
        verb: of the command (see :func:`config_name`).
        words: such as ``["size=small", "data=/tmp/a b=c.hdf5"]``.

    Raises:
        UserError: for an unknown option, a value of another type, or a required option that is missing.
    """
    _check_folder()
    name = config_name(verb, words)
    table = options(name)
    if name.startswith(VISION):
        words = [*recipe_words(words, name.removeprefix(VISION), VISION_MODES), *words]
    values = {option.key: option.default for option in table.values()}
    for word in words:
        if word == f"task={CONTROL}" and verb != "vision":
            continue  # what it would be anyway
        key, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"{word}: options are key=value words, such as {next(iter(table))}=...; --help lists them")
        option = _find(table, key)
        values[option.key] = option.parse(text)
    mode = name.removeprefix(VISION)
    if name.startswith(VISION) and mode in VISION_MODES and values["mode"] != mode:
        given = values["mode"]
        raise UserError(f"mode={given}: weit_rl.{verb} is mode={mode} alone; use python -m weit_rl.vision mode={given}")
    if name == "train" and values["model"] is None:
        values["model"] = usual_model(values["agent"])
    for key, value in values.items():
        if value == REQUIRED:
            raise UserError(f"{key}: must be given, {key}=...  {table[key].help}")
    return made(name, _nested(values))


def words_of(verb: str, cfg: Any) -> list[str]:
    """Words that :func:`compose` makes the same config of; all options are among them, since a recipe may differ."""
    plain = plain_config(cfg)
    name = config_name(verb, [f"task={plain['task']}"] if plain.get("task") else [])
    values = {key: value_at(plain, key) for key in options(name)}
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]


def config_name(verb: str, words: Sequence[str] = ()) -> str:
    """The name in VERBS of a command's options: that of ``vision`` goes by its mode, that of another task, too."""
    given = dict(word.split("=", 1) for word in words if "=" in word)
    if verb == "vision" and given.get("mode", "train") not in VISION_MODES:
        raise unknown("mode", given["mode"], list(VISION_MODES))
    if verb == "vision":
        return VISION + given.get("mode", "train")
    task = given.get("task", CONTROL)
    as_file = verb == "export" and task == "classification"  # as policies are; diffusion becomes a pipeline
    of_vision = verb in (*VISION_MODES, "benchmark") and task != CONTROL and not as_file
    return VISION + verb if of_vision else verb


def help_text(verb: str, words: Sequence[str] = ()) -> str:
    """What the verb does, and every option with its default and one line of help."""
    _check_folder()
    name = config_name(verb, words)
    rows = [(f"{option.key}={_shown(option.default)}", option.help) for option in options(name).values()]
    width = max(len(left) for left, _ in rows)
    lines = [f"  {left:<{width}}  {help}" for left, help in rows]
    return "\n".join([f"usage: python -m weit_rl.{verb} [option=value ...]", "", about(name), "", *lines])


def _help(verb: str, words: list[str]) -> int:
    try:
        say(help_text(verb, words))
    except UserError as error:
        return _say(verb, f"error: {error}", 2)
    return 0


def _printed(verb: str, words: list[str], work: Callable[[], int]) -> int:
    """The exit code of work; 1 where it was to print, and could not. A reader that left, as of rich, needs no line."""
    with guarded() as out:
        code = work()
        out.flush()
        if code or out.error is None or not ASKS_FOR_TEXT & set(words):
            return code
        return 1 if isinstance(out.error, BrokenPipeError) else _say(verb, f"error: standard output: {out.error}", 1)


def _run(verb: str, main: Callable[[Options], Any], words: list[str], check: Callable[..., None]) -> int:
    """Call main and turn what a user may cause into one line and an exit code; a bug keeps its traceback."""
    try:
        config = compose(verb, words)
        check(verb, config)
        main(config)
        return 0
    except Elsewhere as error:
        return _say(verb, f"error: {error}", 2, everywhere=True)
    except UserError as error:
        return _say(verb, f"error: {error}", 2)
    except Interrupted as stop:
        return _say_stop(verb, str(stop), stop.exit_code)
    except KeyboardInterrupt:
        return _say_stop(verb, "interrupted", 130)
    except Follows as end:
        return int(end.code or 0)
    except SystemExit as stop:
        if stop.code != 143:
            raise
        return _say_stop(verb, "stopped by SIGTERM", 143)
    except OSError as error:
        if NO_TEMPORARY in str(error):
            return _say(verb, f"error: {error.strerror}; set TMPDIR to a folder that can be written", 2)
        if not is_of_disk(error):
            raise
        where = error.filename or "disk"
        return _say(verb, f"error: {where}: {error.strerror}; free some space there or choose another place", 2)


def _say(verb: str, line: str, code: int, everywhere: bool = False) -> int:
    """Of processes that share a run one speaks for all."""
    if everywhere or local()[0] == 0:
        complain(f"weit_rl {verb}: {line}".replace("\n", " "))
    return code


def _say_stop(verb: str, line: str, code: int) -> int:
    """A command that started processes says itself that they were stopped, and which of them was the first."""
    return code if ours() else _say(verb, line, code)


def _find(table: dict[str, Option], key: str) -> Option:
    for name in (key, f"{key}.name"):
        if name in table:
            return table[name]
    raise unknown("option", key, list(table))


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """{"size.width": 64} as {"size": {"width": 64}}."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        group, _, last = key.rpartition(".")  # groups are one deep
        (nested.setdefault(group, {}) if group else nested)[last] = value
    return nested


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _check_folder() -> None:
    """UserError if the working directory was removed: paths begin there."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the working directory was removed; change to one that exists (cd)") from error
