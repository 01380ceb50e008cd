"""Faults from outside, injected: each ends in one clear line, nothing that was written is lost, and work goes on."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import contents

from weit_rl import atomic
from weit_rl.atomic import write_atomically
from weit_rl.collect import main as collect
from weit_rl.command import command, compose
from weit_rl.comparison.launchers import Place
from weit_rl.comparison.launchers.local import in_parallel
from weit_rl.errors import CannotWrite, Interrupted, UserError
from weit_rl.lock import locked
from weit_rl.tasks.control import Control
from weit_rl.tensorfile import newest, read_card, read_tensors, write_tensors
from weit_rl.train import main as train
from weit_rl.training.loop import Recipe, fit
from weit_rl.training.run_folder import RunFolder

WORDS = ["model=mlp", "init=scratch", "size=32x1", "batch_size=4", "context=1", "threads=1", "device=cpu", "episodes=1",
         "train_steps=30", "validation_episodes=0"]  # fmt: skip


def start(tiny_data, run, *more):
    return train(compose("train", [*WORDS, f"data={tiny_data}", f"run_dir={run}", *more]))


@pytest.fixture(scope="module")
def whole(tiny_data, tmp_path_factory):
    run = tmp_path_factory.mktemp("faults") / "whole"
    start(tiny_data, run)
    return run


def is_as(run, whole):
    """Whether two runs ended alike, but for the clock."""
    rows = [[row for row in (one / "metrics.csv").read_text().split() if "time/" not in row] for one in (run, whole)]
    last = [(one / "checkpoints" / "last.safetensors").read_bytes() for one in (run, whole)]
    return rows[0] == rows[1] and last[0] == last[1]


# --- disks


def failing(number, code):
    """An ``os.fsync`` that fails from its call of that number on."""
    real, calls = os.fsync, iter(range(10**6))

    def fsync(descriptor):
        if next(calls) >= number:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    return fsync


@pytest.mark.parametrize(("number", "code"), [(4, errno.ENOSPC), (6, errno.EROFS), (9, errno.EDQUOT)])
def test_a_disk_that_takes_no_more(number, code, whole, tiny_data, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(number, code))
        with pytest.raises(CannotWrite, match=rf"cannot write \({os.strerror(code)}\).*, then go on with: ") as error:
            start(tiny_data, run)
    assert "\n" not in str(error.value)
    before = contents(run / "checkpoints")
    assert not any(atomic.is_unfinished(path) for path in before)
    train(compose("train", [f"resume={run}"]))
    assert is_as(run, whole)


def test_a_disk_that_is_full_when_metrics_are_written(whole, tiny_data, tmp_path, monkeypatch):
    run = tmp_path / "run"

    def full(path, mode="r", **words):
        if "a" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open(path, mode, **words)

    with monkeypatch.context() as patch:
        patch.setattr("weit_rl.training.metrics.open", full, raising=False)
        with pytest.raises(CannotWrite, match=r"metrics.csv: cannot write"):
            start(tiny_data, run)
    train(compose("train", [f"resume={run}"]))
    assert is_as(run, whole)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_what_is_written_elsewhere_is_one_line_too(code, capsys):
    def main(cfg):
        raise OSError(code, os.strerror(code), "/data/x")

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        command("train", main, [])
    signal.signal(signal.SIGTERM, handler)
    err = capsys.readouterr().err
    assert stop.value.code == 2 and err.startswith("weit_rl train: error: /data/x: ") and err.count("\n") == 1


DYING = """
import os, signal, sys
from pathlib import Path
from weit_rl.atomic import write_atomically
calls = iter(range(100))
def dying(real):
    def call(*words):
        if next(calls) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*words)
    return call
os.fsync, os.replace = dying(os.fsync), dying(os.replace)
path = Path(sys.argv[1])
write_atomically(path, b"new" * 1000, path.with_suffix(".previous"))
"""


def test_killed_at_any_point_of_a_write_the_old_file_or_the_new_one_is_there(tmp_path):
    old, new, seen = b"old" * 1000, b"new" * 1000, []
    for number in range(10):
        path = tmp_path / str(number) / "x.safetensors"
        path.parent.mkdir()
        write_atomically(path, old)
        done = subprocess.run([sys.executable, "-c", DYING, str(path), str(number)], capture_output=True)
        places = [place for place in (path, path.with_suffix(".previous")) if place.exists()]
        seen.append([place.read_bytes() for place in places])
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        write_atomically(path, new, path.with_suffix(".previous"))  # what was left is in nobody's way
        atomic.remove_unfinished(path.parent)
        assert path.read_bytes() == new and len(list(path.parent.iterdir())) == 2
    assert seen == [[old], [old], [old], [new, old], [new, old]]


# --- checkpoints


def regression(net):
    def loss(step):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        return ((net(x) - x.sum(1, keepdim=True)) ** 2).mean()

    return loss


def trained(path, steps):
    """A network trained to a step of 20, in a stage that is gone on with."""
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)
    return fit(net, regression(net), Recipe(20, save_every=4), checkpoint=path, span=(0, steps))


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:-9] + b"x" + data[-8:], lambda _: b""])
def test_the_state_before_a_damaged_one_is_gone_on_from(damage, tmp_path):
    path, plain = tmp_path / "train_state.safetensors", tmp_path / "plain.safetensors"
    trained(path, 12)
    assert [read_card(one)["step"] for one in (path, path.with_suffix(".previous"))] == [12, 8]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"train_state.previous, the one before it, is taken instead"):
        net = trained(path, 20)
    assert torch.equal(net.weight, trained(plain, 20).weight)
    assert [read_card(one)["step"] for one in (path, path.with_suffix(".previous"))] == [20, 16]


def test_without_a_good_state_nothing_is_guessed(tmp_path):
    path = tmp_path / "x.safetensors"
    assert newest(path) is None
    for _ in range(2):
        write_tensors(path, {}, {}, keep=True)
    for one in (path, path.with_suffix(".previous")):
        one.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"x.safetensors: not a whole"):
        newest(path)


def test_a_folder_whose_process_was_killed_while_it_was_made_is_taken(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "environment.json").write_text("{}")
    (run / ".lock").touch()
    (run / ".weit_rl-0123abcd.tmp").touch()
    RunFolder.create(run, "train", compose("train"), 0).close()
    assert json.loads((run / "environment.json").read_text())["seed"] == 0
    with pytest.raises(UserError, match="exists already"):
        RunFolder.create(run, "train", compose("train"), 0)


# --- other processes


def test_two_processes_never_work_in_one_run_folder(refused, tiny_run, tmp_path):
    lock = locked(tiny_run)
    says = "another process is at work there; wait for it or choose another folder"
    assert says in refused("train", f"resume={tiny_run}", folder=tiny_run)
    lock.release()
    assert "that run is finished" in refused("train", f"resume={tiny_run}", folder=tiny_run)


@pytest.mark.parametrize("verb", ["benchmark", "collect"])
def test_nor_in_the_folder_of_a_comparison_or_of_data(verb, refused, tiny_data, tmp_path):
    words = {"benchmark": [f"data={tiny_data}"], "collect": ["env=Reacher", "steps=10"]}[verb]
    (tmp_path / "run").mkdir()
    lock = locked(tmp_path / "run")
    assert "another process is at work there" in refused(verb, *words, f"run_dir={tmp_path / 'run'}")
    lock.release()


def test_the_lock_of_a_process_that_is_killed_is_free(tmp_path):
    code = f"from weit_rl.lock import locked; from pathlib import Path; lock = locked(Path({str(tmp_path)!r}))"
    code += "; print('held', flush=True); import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another process"):
        locked(tmp_path)
    process.kill()
    process.communicate()
    locked(tmp_path).release()


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"a process was killed, .*; what is finished is kept, go on with the same"):
        list(in_parallel({"a": (die, (1,)), "b": (die, (2,))}, Place(2, 1, tmp_path)))


ORPHANS = """
import os, sys, time
from pathlib import Path
from weit_rl.comparison.launchers import Place
from weit_rl.comparison.launchers.local import in_parallel
def work(name):
    (Path(sys.argv[1]) / name).write_text(str(os.getpid()))
    time.sleep(120)
if __name__ == "__main__":
    list(in_parallel({name: (work, (name,)) for name in ("a", "b")}, Place(2, 1, Path(sys.argv[1]))))
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

    monkeypatch.setattr("weit_rl.workflows.behaviour.train_behaviour", stop)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as code:
        command("collect", collect, ["env=Reacher", "steps=10", f"run_dir={tmp_path / 'r [1]'}"])
    signal.signal(signal.SIGTERM, handler)
    err = capsys.readouterr().err
    assert code.value.code == 143 and err.count("\n") == 1
    assert f"goes on from its last snapshot ('run_dir={tmp_path / 'r [1]'}')" in err


# --- clocks, losses


def test_a_clock_that_jumps_changes_nothing(whole, tiny_data, tmp_path, monkeypatch):
    run, log, real, jumps = tmp_path / "run", RunFolder.log, time.time, iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: real() + (-1) ** next(jumps) * 4e8)  # 13 years to and fro

    def log_and_stop(self, step, values):
        log(self, step, values)
        if step == 20:
            monkeypatch.setattr(RunFolder, "log", log)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "log", log_and_stop)
    with pytest.raises(Interrupted):
        start(tiny_data, run)
    report = train(compose("train", [f"resume={run}"]))
    assert is_as(run, whole) and 0 < report["seconds"] < 600
    seconds = [value for _, value in RunFolder.open(run).metrics()["time/seconds"]]
    assert seconds == sorted(seconds) and seconds[0] >= 0


def test_a_loss_that_is_no_number_keeps_the_batch(tiny_data, tmp_path, monkeypatch):
    draw, seen = Control.batch, []

    def batch(self, step):
        drawn = draw(self, step)
        if step == 25:
            drawn["observations"][1, 0, 3] = np.inf
            seen.append(drawn)
        return drawn

    monkeypatch.setattr(Control, "batch", batch)
    monkeypatch.setattr("weit_rl.workflows.train.Recipe", lambda *words: Recipe(*words, save_every=10))
    run = tmp_path / "run"
    with pytest.raises(UserError, match=r"train stage: the loss is nan, .* at step 25: .*; the batch is in ") as error:
        start(tiny_data, run)
    path = run / "bad_batch.safetensors"
    assert str(error.value).endswith(str(path)) and "\n" not in str(error.value)
    tensors, card = read_tensors(path)
    assert card == {"format": "weit_rl batch 1", "stage": "train", "step": 25}
    assert tensors.keys() == {f"0.{name}" for name in seen[0]}
    assert all(torch.equal(tensors[f"0.{name}"], tensor) for name, tensor in seen[0].items())
    state = run / "checkpoints" / "train_state.safetensors"
    assert read_card(state)["step"] == 20
    assert all(tensor.isfinite().all() for tensor in read_tensors(state)[0].values())
