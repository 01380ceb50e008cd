"""Printing to closed, full, missing or strange streams never decides whether a command succeeds."""

import os
import subprocess
import sys
import warnings
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from conftest import TINY_TRAIN
from rich.console import Console

from weit_rl.common.output import guard_output, print_line
from weit_rl.common.output_stream import Output
from weit_rl.training.progress import Progress, print_table

ROOT = Path(__file__).parents[1]
ROWS = [
    {"": "last", "return": 9166.25, "+-": 12.5, "score": 94.2},
    {"": "é [data]", "return": -1.0, "+-": None, "score": 0},
]


class Plain:
    """A minimal stream, as a notebook or an IDE may put in the place of standard output: it has only ``write``."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


class Full(StringIO):
    """A stream on a full disk."""

    def write(self, text):
        raise OSError(28, "No space left on device")

    def flush(self):
        self.write("")


def closed():
    stream = StringIO()
    stream.close()
    return stream


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


def everything():
    print_line("bank:", "é/✓/\udcff")
    print_table("é", ROWS)
    with Progress(3, "stage") as bar:
        bar.update(3, loss=0.5)


@pytest.mark.parametrize("make", [lambda: None, Plain, Full, closed], ids=["none", "plain", "full", "closed"])
def test_any_object_may_be_standard_output(make, monkeypatch):
    stream = make()
    monkeypatch.setattr(sys, "stdout", stream)
    everything()
    with guard_output():
        everything()
        print("a library's line", flush=True)
    assert sys.stdout is stream
    if isinstance(stream, Plain):
        assert stream.text.count("9,166.2") == 2 and "a library's line" in stream.text and "[data]" in stream.text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_letters_that_a_stream_lacks_are_escaped(encoding, monkeypatch):
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(raw := BytesIO(), encoding=encoding))
    everything()
    sys.stdout.flush()
    shown = raw.getvalue().decode(encoding)
    assert ("bank: é" in shown) == (encoding != "ascii") and r"\udcff" in shown and "9,166.2" in shown


def test_an_output_passes_all_else_to_its_stream():
    stream = TextIOWrapper(BytesIO(), encoding="ascii")
    assert Output(stream).buffer is stream.buffer and Output(stream).encoding == "ascii" and not Output(stream).isatty()
    assert Output(None).encoding == "utf-8" and not Output(None).isatty() and Output(None).write("abc") == 3
    with pytest.raises(OSError):
        Output(Plain()).fileno()


@pytest.mark.parametrize("width", [200, 30, 20, 7])
def test_no_table_is_cut(width):
    console = Console(file=StringIO(), force_terminal=True, width=width, color_system=None)
    print_table("a title of thirty characters or so", ROWS, console)
    shown = console.file.getvalue()
    assert "9,166.2" in shown and "a title of thirty characters or so" in shown and "…" not in shown
    assert ("return: 9,166.2\n+-: 12.5\n" in shown) == (width < 200)
    assert width == 200 or "\nlast\n" in shown


def test_a_wide_table_is_whole_in_a_log():
    console = Console(file=StringIO(), width=80)
    print_table("runs", [{"run": "r" * 300, "return": 9166.25}], console)
    assert "r" * 300 + "   9,166.2" in console.file.getvalue()


def test_a_narrow_terminal_shows_progress_in_lines():
    console = Console(file=StringIO(), force_terminal=True, width=40, color_system=None)
    with Progress(4000, "scaler stage", console=console) as bar:
        bar.update(1300, loss=0.123456)
    assert "scaler stage  1300/4000  loss 0.1235" in console.file.getvalue() and "…" not in console.file.getvalue()


def run(code, redirection, **environment):
    """Run a command; return its exit code and what it printed to the remaining stream."""
    words = ["sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    return done.returncode, done.stdout + done.stderr


COMMAND = """
import os, sys
from pathlib import Path
from weit_rl.options.command import command
def main(config):
    opened = open(os.devnull)  # a file, which must not get the number of a closed standard stream
    assert opened.fileno() > 2
    print("a library's line")
    from weit_rl.common.output import print_line
    print_line("run folder: é")
    os.write(1, b"C" * 10) if {write_in_c} else None
command("train", main, {words})
"""


@pytest.mark.parametrize(
    "redirection",
    [">&-", "2>&-", ">&- 2>&- <&-", *(pytest.param(way, marks=full) for way in (">/dev/full", ">/dev/full 2>&1"))],
)
def test_a_command_succeeds_even_if_it_cannot_print(redirection):
    code, printed = run(COMMAND.format(words=[], write_in_c=">&-" in redirection), redirection)
    assert code == 0 and "Traceback" not in printed and "Error" not in printed and "Exception" not in printed, printed


def test_a_closed_pipe_ends_no_command():
    reader, writer = os.pipe()
    os.close(reader)
    code = COMMAND.format(words=[], write_in_c=False)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("redirection", "line"),
    [
        pytest.param(">/dev/full", "error: standard output: ", marks=full),
        (">&-", "error: standard output: closed"),
    ],
)
def test_a_command_that_only_prints_fails_if_it_cannot(redirection, line):
    code, printed = run(COMMAND.format(words=["--help"], write_in_c=False), redirection)
    assert code == 1 and line in printed and printed.count("\n") == 1


def test_an_error_is_a_line_in_any_encoding():
    code, printed = run(
        COMMAND.format(words=["bank=é", "seed=no"], write_in_c=False), "", PYTHONIOENCODING="ascii:strict"
    )
    assert code == 2 and "seed=no: must be an integer" in printed and "Traceback" not in printed
    assert run(COMMAND.format(words=["seed=no"], write_in_c=False), "2>&-") == (2, "")


@pytest.mark.slow
def test_a_training_prints_its_folder_in_any_encoding(tiny_data, tmp_path):
    """Train in a folder whose name has a letter that ASCII lacks."""
    folder = tmp_path / "läuft"
    options = ["init=scratch", "size.width=32", "size.depth=1", "train_steps=2", "validation_episodes=0"]
    words = [*TINY_TRAIN, *options, f"data={tiny_data}", f"run_dir={folder}"]
    code = f"import runpy, sys; sys.argv[1:] = {words!r}; runpy.run_module('weit_rl.train', run_name='__main__')"
    status, printed = run(code, "", PYTHONIOENCODING="ascii")
    assert status == 0 and "Traceback" not in printed, printed
    assert (folder / "evaluation.json").exists() and r"run folder: " in printed and r"l\xe4uft" in printed


def test_a_warning_of_a_command_is_one_line_and_one_for_developers_has_its_place():
    def shown(kind):
        return warnings.formatwarning("data here: cut", kind, "a_file.py", 7)

    with guard_output():
        assert shown(UserWarning) == shown(RuntimeWarning) == "warning: data here: cut\n"
        assert shown(DeprecationWarning) == "a_file.py:7: DeprecationWarning: data here: cut\n"
    assert shown(UserWarning).startswith("a_file.py:7: UserWarning")
