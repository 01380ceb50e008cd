"""Files after a killed process or damage: the older file is kept, and training resumes from it."""

import json
import signal
import subprocess
import sys

import pytest
import torch

from weit_rl.common.errors import UserError
from weit_rl.options.command import compose
from weit_rl.storage import atomic_write as atomic
from weit_rl.storage.atomic_write import write_atomically
from weit_rl.storage.tensor_file import newest_whole_file, read_card, write_tensors
from weit_rl.training.loop import OptimizerRecipe, fit
from weit_rl.training.run_folder import RunFolder

DYING = """
import os, signal, sys
from pathlib import Path
from weit_rl.storage.atomic_write import write_atomically
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


def regression(net):
    def loss(step):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        return ((net(x) - x.sum(1, keepdim=True)) ** 2).mean()

    return loss


def trained(path, steps):
    """Train a network for 20 steps of a stage that can be resumed."""
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)
    return fit(net, regression(net), OptimizerRecipe(20, save_every=4), checkpoint=path, span=(0, steps))


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:-9] + b"x" + data[-8:], lambda _: b""])
def test_training_resumes_from_the_state_before_a_damaged_one(damage, tmp_path):
    path, plain = tmp_path / "train_state.safetensors", tmp_path / "plain.safetensors"
    trained(path, 12)
    assert [read_card(one)["step"] for one in (path, path.with_suffix(".previous"))] == [12, 8]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"train_state.previous, the one before it, is taken instead"):
        net = trained(path, 20)
    assert torch.equal(net.weight, trained(plain, 20).weight)
    assert [read_card(one)["step"] for one in (path, path.with_suffix(".previous"))] == [20, 16]


def test_a_file_without_a_good_state_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    assert newest_whole_file(path) is None
    for _ in range(2):
        write_tensors(path, {}, {}, keep=True)
    for one in (path, path.with_suffix(".previous")):
        one.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"x.safetensors: not a whole"):
        newest_whole_file(path)


def test_a_folder_of_a_process_killed_while_making_it_can_be_used(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "environment.json").write_text("{}")
    (run / ".lock").touch()
    (run / ".weit_rl-0123abcd.tmp").touch()
    RunFolder.create(run, "train", compose("train"), 0).close()
    assert json.loads((run / "environment.json").read_text())["seed"] == 0
    with pytest.raises(UserError, match="exists already"):
        RunFolder.create(run, "train", compose("train"), 0)
