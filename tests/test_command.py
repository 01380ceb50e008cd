"""Options, help, one-line errors and exit codes: what all verbs share."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from weit_rl.common.errors import Interrupted, UserError
from weit_rl.models.shipped_banks import shipped_bank
from weit_rl.options.command import command, compose, help_text
from weit_rl.options.option_table import VERBS, as_config, options


@pytest.fixture
def exit_of(capsys):
    """Run a command in this process; returns its exit code and what it printed on stderr."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(main, *words):
        with pytest.raises(SystemExit) as stop:
            command("train", main, words)
        return stop.value.code or 0, capsys.readouterr().err

    yield run
    signal.signal(signal.SIGTERM, handler)


TEXTS = r"""
a b|a=b=c|a,b|[x]|{x: 1}|'|"|it's "so"|ünï→✓|$HOME|${env}|\${env}|a\\${|#no|a # b|- a|a: b|*|&a|!x|%|@|`|>|~
|true|1e3|007| lead|\|None|--help"""
TEXTS = [*TEXTS.replace("\n", "").split("|"), "|", "two\nlines"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_path_may_hold_any_character(text):
    config = compose("train", [f"data={text}", f"bank={text}"])
    assert (config.data, config.bank) == (text, text)


def test_values_take_the_type_of_their_default():
    words = ["batch_size=64", "train_lr=1", "scaler_lr=3e-3", "size.width=160", "evaluate_every=null", "run_dir=12"]
    config = compose("train", words)
    assert (config.batch_size, config.train_lr, config.scaler_lr, config.size.width) == (64, 1.0, 3e-3, 160)
    assert config.evaluate_every is None and config.run_dir == "12"
    assert compose("evaluate", ["run=x", "video=True"]).video is True
    assert list(compose("pretrain", ["widths=[32, 96]"]).widths) == [32, 96]
    assert dict(compose("collect", ["hyperparameters={learning_rate: 3e-4}"]).hyperparameters) == {
        "learning_rate": 3e-4
    }


def test_size_as_a_text_names_the_size():
    assert compose("train", ["size=128x3"]).size.name == "128x3"
    assert compose("train", ["size.name=base"]).size.name == "base"


def test_the_last_word_for_an_option_counts():
    assert compose("train", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("size.width=abc", "size.width=abc: must be an integer"),
        ("batch_size=1.5", "must be an integer"),
        ("batch_size=null", "must be an integer"),
        ("train_lr=fast", "must be a number"),
        ("train_lr=nan", "must be a number"),
        ("bank=", "bank=: is empty"),
        ("size.widht=3", "did you mean size.width?"),
        ("stteps=3", "possible: env, body.torso, body.limbs"),
        ("--seed=3", "did you mean seed?"),
        ("verbose", "verbose: options are key=value words"),
        ("=3", "unknown option ''"),
    ],
)
def test_a_bad_word_is_one_line_and_exit_code_2(word, says, exit_of):
    code, err = exit_of(lambda config: pytest.fail("main must not run"), word)
    assert code == 2 and says in err
    assert err.startswith("weit_rl train: error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("verb", "word", "says"),
    [
        ("evaluate", "video=maybe", "must be true or false"),
        ("evaluate", "run=???", "run: must be given"),
        ("pretrain", "widths=64", "must be a list"),
        ("pretrain", "widths=[a]", "must be a list such as [64, 128]"),
        ("pretrain", "widths=[64", "must be a list"),
        ("collect", "hyperparameters=3", "must be a mapping"),
        ("collect", "hyperparameters={a: {", "must be a mapping"),
    ],
)
def test_other_kinds_of_values_are_checked_too(verb, word, says):
    with pytest.raises(UserError) as error:
        compose(verb, [word])
    assert says in str(error.value)


def test_composing_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compose("train").env == "HalfCheetah"
    assert not list(tmp_path.iterdir())


def test_a_config_refuses_keys_it_does_not_have():
    with pytest.raises(AttributeError):
        _ = as_config({"seed": 0}).sede


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_option_with_default_and_a_line(verb):
    text = help_text(verb)
    for option in options(verb).values():
        line = next(line for line in text.splitlines() if line.startswith(f"  {option.key}="))
        assert option.help and option.help in line, f"{verb}: {option.key} lacks its line"


@pytest.mark.parametrize("words", [["--help"], ["sede=1"]])
@pytest.mark.parametrize("verb", VERBS)
def test_help_and_errors_come_at_once(verb, words, tmp_path):
    module, _, mode = verb.partition("_")  # vision has a config for each mode
    words = [*words, *((["task=classification"] if mode == "benchmark" else [f"mode={mode}"]) if mode else [])]
    module = "benchmark" if mode == "benchmark" else module
    code = f"""
import runpy, sys, time
sys.argv = ["weit_rl", *{words}]
try:
    runpy.run_module("weit_rl.{module}", run_name="__main__")
except SystemExit as stop:
    heavy = {{"torch", "gymnasium", "mujoco"}} & set(sys.modules)
    print("END", stop.code, heavy, time.process_time() < 1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    exit_code = 0 if "--help" in words else 2
    assert f"END {exit_code} set() True" in done.stdout, done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


EARLY = [
    ("train", "env=HalfCheeta", "did you mean HalfCheetah?"),
    ("train", "body.legs=6", "body.legs: is of Ant"),
    ("train", "size=smal", "did you mean small?"),
    ("train", "size.width=100", "multiple of head_dim"),
    ("train", "rtg=latst", "did you mean latest?"),
    ("train", "precision=mediun", "did you mean medium?"),
    ("train", "batch_size=0", "batch_size=0: must be 1 or more"),
    ("train", "data=expertt", "data='expertt': neither a file"),
    ("train", "bank=nowhere.safetensors", "nowhere.safetensors: cannot read"),
    ("train", "source=nowhere", "nowhere: cannot read"),
    ("train", f"positions=none attention=band bank={shipped_bank('HalfCheetah', 'dt')}", "attention=band band=4; make"),
    ("train", "resume=nowhere", "nowhere: is no run folder"),
    ("pretrain", "env=[HalfCheetah,Hoper]", "did you mean Hopper?"),
    ("pretrain", "size=bas", "did you mean base?"),
    ("evaluate", "run=nowhere", "nowhere: is no run folder"),
    ("collect", "env=HalfChetah", "did you mean HalfCheetah?"),
]


def test_wrong_words_are_answered_without_torch(tmp_path):
    """Check in one process that none of them loads anything heavy."""
    code = f"""
import sys
from weit_rl.options.command import command
from weit_rl.workflows.checks_before_torch import check_before_torch
for verb, word, _ in {EARLY}:
    try:
        command(verb, None, word.split(' '), check_before_torch)
    except SystemExit as stop:
        print(stop.code, file=sys.stderr)
print({{"torch", "gymnasium", "mujoco", "matplotlib", "tensorboard"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    lines = done.stderr.splitlines()
    assert lines[1::2] == ["2"] * len(EARLY) and done.stdout == "set()\n", done.stderr
    for (verb, _, says), line in zip(EARLY, lines[::2], strict=True):
        assert line.startswith(f"weit_rl {verb}: error: ") and says in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (f"model=mlp bank={shipped_bank('HalfCheetah', 'dt')}", "was made for model=dt"),
        ("model=mpl", "unknown model 'mpl'; did you mean mlp? (possible: conv, convnext_policy, "),
        ("init=scrach", "unknown init 'scrach'; did you mean scratch? (possible: bot, direct, "),
    ],
)
def test_wrong_names_of_plug_ins_are_answered_in_a_line(words, says, refused):
    assert says in refused("train", *words.split())


@pytest.mark.parametrize(
    "words", [["train", "--help"], ["collect", "mode=inspect", "env=HalfCheetah"], ["vision", "mode=describe"]]
)
@pytest.mark.slow
def test_a_closed_pipe_ends_a_command_without_a_word(words):
    reader, writer = os.pipe()
    os.close(reader)  # as behind "| head", once it has what it wants
    command = [sys.executable, "-m", f"weit_rl.{words[0]}", *words[1:]]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_help_leaves_the_signals_of_its_process_alone(exit_of):
    before = signal.getsignal(signal.SIGPIPE)
    assert exit_of(lambda config: pytest.fail("main must not run"), "--help")[0] == 0
    assert signal.getsignal(signal.SIGPIPE) is before  # "end the process" would take its other sockets' part, too


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("bank=x: no such file"), 2, "weit_rl train: error: bank=x: no such file\n"),
        (UserError("two\nlines"), 2, "weit_rl train: error: two lines\n"),
        (Interrupted("resume=R goes on", 143), 143, "weit_rl train: resume=R goes on\n"),
        (KeyboardInterrupt(), 130, "weit_rl train: interrupted\n"),
    ],
)
def test_errors_of_main_become_a_line_and_an_exit_code(error, code, line, exit_of):
    assert exit_of(lambda config: _raise(error)) == (code, line)


def test_a_full_disk_is_a_line_too(exit_of):
    code, err = exit_of(lambda config: _raise(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.csv")))
    assert code == 2 and "metrics.csv: No space left" in err and err.count("\n") == 1


def test_a_bug_keeps_its_traceback():
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError):
        command("train", lambda config: 1 / 0, [])
    signal.signal(signal.SIGTERM, handler)


def test_success_exits_with_0_and_main_gets_the_config(exit_of):
    seen = []
    assert exit_of(seen.append, "seed=7") == (0, "")
    assert seen[0].seed == 7


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_unwind_the_stack(number, code):
    program = """
import time
from weit_rl.options.command import command
def main(config):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("closed", flush=True)
command("train", main, [])
"""
    # A shell starts background jobs, and so perhaps these tests, with SIGINT ignored, which children inherit.
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "closed\n") and "Traceback" not in err
