"""Processes without a home directory, a working directory or a folder for temporary files."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home, home
from weit_rl.data.images.loading import image_cache
from weit_rl.data.readers import find_data
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.training.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
NOBODY = """
import pwd
def getpwuid(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = getpwuid
"""  # as where a container gives a number that it has no entry of


def _unknown(number):
    raise KeyError(number)


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", _unknown)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("homeless")
def test_the_working_directory_replaces_an_unknown_home(tiny_data):
    assert home() == Path() and image_cache() == Path(".cache/weit_rl/images")
    assert find_data(str(tiny_data), env_entry("HalfCheetah")) == tiny_data
    assert expand_home("a/~b") == Path("a/~b")


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("path", ["~/run", "~nobody-of-that-name/run"])
def test_a_path_below_an_unknown_home_is_refused_in_one_line(path):
    where = path.partition("/")[0]
    for use in (expand_home, RunFolder.open):
        with pytest.raises(UserError, match=rf"^{path}: the directory {where} is unknown .*; write the path in full$"):
            use(path)


def test_a_run_folder_below_the_home_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    RunFolder.create("~/run", "train", compose("train"), 0).close()
    assert RunFolder.open("~/run").path == tmp_path / "run"


def run(words, folder, more="", **environment):
    """Run a command in a process without a home directory; return its exit code and output."""
    code = f"{NOBODY}{more}\nimport runpy, sys\nsys.argv[1:] = {words[1:]!r}\n"
    code += f"runpy.run_module('weit_rl.{words[0]}', run_name='__main__')"
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME", "TMPDIR")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=kept | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stderr, done.stdout


@pytest.mark.parametrize("words", [["collect", "mode=inspect", "env=HalfCheetah"], ["vision", "mode=describe"]])
@pytest.mark.slow
def test_commands_work_without_a_home(words, tmp_path):
    code, said, shown = run(words, tmp_path)
    assert code == 0 and "Traceback" not in said and shown and not list(tmp_path.iterdir()), said


def test_a_bank_below_an_unknown_home_is_one_line(tmp_path):
    code, said, _ = run(["train", "bank=~/bank.safetensors"], tmp_path)
    assert (
        code == 2
        and said.startswith("weit_rl train: error: ~/bank.safetensors: the directory ~ is unknown")
        and said.count("\n") == 1
    )


@pytest.mark.parametrize("words", [["train"], ["train", "--help"]])
def test_a_removed_working_directory_is_one_line(words, tmp_path):
    remove = "import os; os.rmdir(os.getcwd())"
    (tmp_path / "here").mkdir()
    code, said, _ = run(words, tmp_path / "here", remove)
    assert (code, said) == (
        2,
        "weit_rl train: error: the working directory was removed; change to one that exists (cd)\n",
    )


def test_no_folder_for_temporary_files_is_one_line(tmp_path):
    nowhere = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nowhere', '/proc/nowhere']"
    fails = "import weit_rl.workflows.inspect_data as i; i.inspect_data = lambda cfg: tempfile.mkdtemp()"
    code, said, _ = run(["collect", "mode=inspect"], tmp_path, f"{nowhere}\n{fails}")
    assert code == 2 and "No usable temporary directory" in said and said.count("\n") == 1
    assert said.endswith("; set TMPDIR to a folder that can be written\n")
