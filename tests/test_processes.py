"""Other processes: at work in the same folder or on the same run, killed, orphaned or asked to stop."""

import os
import signal
import subprocess
import sys
import time

import pytest

from weit_rl.collect import main as collect
from weit_rl.common.errors import UserError
from weit_rl.comparison.launchers import JobSettings
from weit_rl.comparison.launchers.local import run_in_processes
from weit_rl.options.command import command
from weit_rl.storage.folder_lock import lock_folder


def test_two_processes_never_work_in_one_run_folder(refused, tiny_run, tmp_path):
    lock = lock_folder(tiny_run)
    says = "another process is at work there; wait for it or choose another folder"
    assert says in refused("train", f"resume={tiny_run}", folder=tiny_run)
    lock.release()
    assert "that run is finished" in refused("train", f"resume={tiny_run}", folder=tiny_run)


@pytest.mark.parametrize("verb", ["benchmark", "collect"])
def test_two_processes_never_work_in_one_folder_of_a_comparison_or_data(verb, refused, tiny_data, tmp_path):
    words = {"benchmark": [f"data={tiny_data}"], "collect": ["env=Reacher", "steps=10"]}[verb]
    (tmp_path / "run").mkdir()
    lock = lock_folder(tmp_path / "run")
    assert "another process is at work there" in refused(verb, *words, f"run_dir={tmp_path / 'run'}")
    lock.release()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = "from weit_rl.storage.folder_lock import lock_folder; from pathlib import Path"
    code += f"; lock = lock_folder(Path({str(tmp_path)!r}))"
    code += "; print('held', flush=True); import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another process"):
        lock_folder(tmp_path)
    process.kill()
    process.communicate()
    lock_folder(tmp_path).release()


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"a process was killed, .*; what is finished is kept, go on with the same"):
        list(run_in_processes({"a": (die, (1,)), "b": (die, (2,))}, JobSettings(2, 1, tmp_path)))


ORPHANS = """
import os, sys, time
from pathlib import Path
from weit_rl.comparison.launchers import JobSettings
from weit_rl.comparison.launchers.local import run_in_processes
def work(name):
    (Path(sys.argv[1]) / name).write_text(str(os.getpid()))
    time.sleep(120)
if __name__ == "__main__":
    list(run_in_processes({name: (work, (name,)) for name in ("a", "b")}, JobSettings(2, 1, Path(sys.argv[1]))))
"""


def test_workers_end_with_the_process_that_started_them(tmp_path):
    (tmp_path / "script.py").write_text(ORPHANS)
    process = subprocess.Popen([sys.executable, str(tmp_path / "script.py"), str(tmp_path)])
    numbers = [int(wait_for(lambda name=name: (tmp_path / name).exists() and (tmp_path / name).read_text()))
               for name in ("a", "b")]  # fmt: skip
    process.kill()
    process.wait()
    wait_for(lambda: not any(os.path.exists(f"/proc/{number}") for number in numbers))


def wait_for(found, seconds=60):
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def test_collect_tells_how_it_goes_on_after_sigterm(tmp_path, monkeypatch, capsys):
    def stop(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("weit_rl.workflows.behaviour_run.train_behaviour", stop)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as code:
        command("collect", collect, ["env=Reacher", "steps=10", f"run_dir={tmp_path / 'r [1]'}"])
    signal.signal(signal.SIGTERM, handler)
    err = capsys.readouterr().err
    assert code.value.code == 143 and err.count("\n") == 1
    assert f"goes on from its last snapshot ('run_dir={tmp_path / 'r [1]'}')" in err


ENDING = """
import atexit, sys
from weit_rl.options.command import command
from weit_rl.common.errors import QuietExit

class Late:
    def __del__(self):
        print("taken apart")

late = Late()
atexit.register(print, "closed")
def main(config):
    print("done")
    if config.seed == 3:
        raise QuietExit(1)

command("train", main, sys.argv[1:])
"""


@pytest.mark.parametrize(("count", "said"), [("1", ["done", "closed", "taken apart"]), ("2", ["done", "closed"])])
@pytest.mark.parametrize(("word", "code"), [("seed=1", 0), ("seed=3", 1), ("sed=1", 2)])
def test_a_process_of_several_ends_without_teardown(count, said, word, code):
    environment = {**os.environ, "RANK": "0", "WORLD_SIZE": count}
    words = [sys.executable, "-c", ENDING, word, "env=HalfCheetah"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stdout.split("\n")[:-1] == (said if code < 2 else said[1:])
