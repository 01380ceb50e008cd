"""Training in several processes: it is the training of one, its processes end together, and bad input is one line."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import TINY, TINY_PRETRAIN
from shared_steps import run as run_steps

from weit_rl.common.errors import Interrupted, UserError
from weit_rl.options.choices import check_trainer
from weit_rl.options.command import compose, words_of
from weit_rl.pretrain import main as pretrain
from weit_rl.storage.tensor_file import read_card, read_tensors
from weit_rl.training.bad_batch import write_batch
from weit_rl.training.batch_shards import BatchShards, ShardedTask
from weit_rl.training.process_group import SINGLE_PROCESS
from weit_rl.workflows.process_launch import error_of_exits

pytest.importorskip("accelerate", reason="several processes need Accelerate: pip install 'weit_rl[distributed]'")
psutil = pytest.importorskip("psutil", reason="Accelerate brings it")
HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
PATIENCE = 300  # seconds, on a busy machine


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Run the same steps in one process and in two; return their folders."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    run_steps(one, {"factors": SINGLE_PROCESS, "plain": SINGLE_PROCESS})
    words = [*TORCHRUN, str(HERE / "shared_steps.py"), str(two)]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return one, two


def facts(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.parametrize("kind", ["factors", "plain"])
@pytest.mark.slow
def test_two_processes_train_as_one_does(both, kind):
    one, two = (read_tensors(folder / f"{kind}.safetensors")[0] for folder in both)
    assert one.keys() == two.keys()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-12  # float64; asked for are 1e-6


@pytest.mark.slow
def test_processes_draw_the_same_networks_and_divide_the_same_batches(both):
    alone, first, second = (
        facts(both[folder], name) for folder, name in ((0, "factors0"), (1, "factors0"), (1, "factors1"))
    )
    assert first["sizes"] == second["sizes"] == alone["sizes"]
    assert [a + b for a, b in zip(first["seen"], second["seen"], strict=True)] == alone["seen"]


@pytest.mark.slow
def test_gradients_of_shared_templates_are_sent_once(both):
    """Check templates that all layers of two networks use; the flags tell which parameters no process used."""
    for process in ("factors0", "factors1"):
        seen = facts(both[1], process)
        assert sorted(seen["sent"]) == sorted([["gloo:all_reduce", n] for n in (seen["factors"], seen["tensors"])])
        assert seen["factors"] < seen["composed"] / 3


@pytest.mark.slow
def test_processes_hold_parts_of_a_plain_network_and_write_it_whole(both):
    parts = [facts(both[1], f"plain{rank}") for rank in (0, 1)]
    assert sum(part["part"] for part in parts) == parts[0]["whole"]
    one, two = (read_tensors(folder / "plain_state.safetensors")[0] for folder in both)
    assert {name: tensor.shape for name, tensor in one.items()} == {name: tensor.shape for name, tensor in two.items()}


def test_the_parts_of_a_batch_are_the_batch_and_their_losses_its_loss():
    class Task:
        def batch(self, step):
            mask = torch.arange(12).view(6, 2) > 2  # of the three parts 1, 4 and 4
            return {"x": torch.arange(12.0).view(6, 2), "mask": mask}

        def loss(self, net, batch):
            return batch["x"][batch["mask"]].mean()

    whole, tasks, batches = Task(), [], []
    for rank in range(3):
        shards = BatchShards(rank, 3)
        tasks.append(task := ShardedTask(whole, shards))
        with shards.sharding():
            batches.append(task.batch(0))
        assert vars(whole) == {}  # the task itself is as it was
        assert torch.equal(task.batch(0)["x"], Task().batch(0)["x"])  # whatever an initialiser looks at is whole
    assert torch.equal(torch.cat([batch["x"] for batch in batches]), Task().batch(0)["x"])
    losses = [task.loss(None, batch) for task, batch in zip(tasks, batches, strict=True)]
    assert float(sum(losses) / 3) == pytest.approx(float(Task().loss(None, Task().batch(0))))


def test_the_shard_of_a_bad_batch_is_written_and_losses_are_weighted_as_before(tmp_path):
    class Task:
        def batch(self, step):
            return {"x": torch.arange(4.0), "mask": torch.tensor([True, True, True, False])}

        def loss(self, net, batch):
            return batch["x"][batch["mask"]].mean()

    shards = BatchShards(1, 2)
    task = ShardedTask(Task(), shards)

    def loss(step):
        return task.loss(None, task.batch(step))

    with shards.sharding():
        before = loss(0)
        write_batch(tmp_path / "batch.safetensors", [task], loss, "train", 0)
        assert float(loss(0)) == float(before) == pytest.approx(2 * 2 / 3)  # one of three real steps, of value 2
    tensors, card = read_tensors(tmp_path / "batch.safetensors")
    assert tensors["0.x"].tolist() == [2, 3] and card["step"] == 0


def begun(words, run, step, do):
    """Start a command, wait until its run has logged a step, do something to the process; returns its end."""
    with open(run.parent / "said", "w+") as said:
        process = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=said, text=True)
        try:
            end = time.monotonic() + PATIENCE
            while logged(run) < step:
                assert process.poll() is None and time.monotonic() < end, (run.parent / "said").read_text()
                time.sleep(0.05)
            do(process)
            code = process.wait(PATIENCE)
        finally:
            for one in [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []:
                one.kill()
            process.kill()
        return code, (run.parent / "said").read_text()


def logged(run):
    rows = list(csv.reader((run / "metrics.csv").open())) if (run / "metrics.csv").exists() else []
    return max((int(row[0]) for row in rows[1:] if len(row) == 3), default=0)


def kill_the_second(process):
    children = psutil.Process(process.pid).children()
    next(child for child in children if child.environ().get("RANK") == "1").kill()


@pytest.mark.slow
def test_a_run_that_lost_a_process_and_was_stopped_ends_as_a_single_process(tiny_data, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    words = [*TINY_PRETRAIN, "steps=160", "dropout=0", "lr=1e-3", f"data={tiny_data}"]
    command = [sys.executable, "-m", "weit_rl.pretrain"]
    code, said = begun([*command, *words, f"run_dir={run}", "trainer.devices=2"], run, 110, kill_the_second)
    assert code == 1 and said.count("\n") == 1, said
    assert (
        "process 1 of 2 was ended by SIGKILL" in said and f"go on with: python -m weit_rl.pretrain resume={run}" in said
    )
    state = run / "checkpoints" / "pretrain_state.safetensors"
    assert read_card(state)["step"] == 100

    before = logged(run)
    again = [*TORCHRUN, "-m", "weit_rl.pretrain", f"resume={run}"]
    code, said = begun(again, run, before + 10, lambda process: process.send_signal(signal.SIGTERM))
    assert code != 0 and said.count("stopped by SIGTERM after step") == 1, said
    assert read_card(state)["step"] > before

    pretrain(compose("pretrain", [f"resume={run}", "trainer.devices=1"]))
    pretrain(compose("pretrain", [*words, f"run_dir={whole}"]))
    (one, _), (two, _) = (read_tensors(path / "bank.safetensors") for path in (whole, run))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-3  # float32, of weights near 1
    steps = [[row[:2] for row in csv.reader((path / "metrics.csv").open())] for path in (whole, run)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize(
    "words",
    [["env=Ant", "bank=HalfCheetah", "context=20", "size=32x1", "scaler_steps=0", "train_steps=0"],
     ["init=scratch", "grow=[[0, 32x1], [4, 64x2]]", "train_steps=8"]],
    ids=["a head that is fitted to whole batches", "moments that are divided again when they have grown"],
)  # fmt: skip
@pytest.mark.slow
def test_networks_in_parts_are_those_of_one_process(words, tiny_data, tmp_path):
    words = [*TINY, *words, "validation_episodes=0", "dropout=0"]
    words += [] if "env=Ant" in words else [f"data={tiny_data}"]
    for count in (1, 2):
        more = ["trainer.devices=2", "trainer.strategy=fsdp"] if count == 2 else []
        command = [sys.executable, "-m", "weit_rl.train", *words, *more, f"run_dir={tmp_path / str(count)}"]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
    one, two = (read_tensors(tmp_path / str(n) / "checkpoints" / "last.safetensors")[0] for n in (1, 2))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4  # float32, and losses are tiny


@pytest.mark.parametrize(
    ("verb", "word", "line"),
    [
        ("train", "trainer.devices=0", "trainer.devices=0: must be 1 or more"),
        ("train", "trainer.devices=3", "batch_size=4: is shared by 3 processes; give a multiple of 3"),
        ("train", "trainer.devices=8", "batch_size=4: is shared by 8 processes"),
        ("train", "trainer.strategy=fdsp", "unknown trainer.strategy 'fdsp'; did you mean fsdp"),
        ("pretrain", "trainer.strategy=fsdp", "parts plain networks"),
    ],
)
def test_work_that_cannot_be_divided_is_one_line(verb, word, line):
    with pytest.raises(UserError, match=line.replace("(", r"\(")):
        check_trainer(compose(verb, [*TINY, word]))


def test_torchrun_and_the_options_must_agree(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_trainer(compose("train", TINY))
    with pytest.raises(UserError, match="2 processes were started already"):
        check_trainer(compose("train", [*TINY, "trainer.devices=4"]))
    with pytest.raises(UserError, match="agent=sac: learns in one process"):
        check_trainer(compose("train", [*TINY, "agent=sac"]))


def test_a_missing_library_or_gpu_is_one_line_before_anything_starts(monkeypatch, tmp_path):
    words = [*TINY_PRETRAIN, f"run_dir={tmp_path / 'run'}", "trainer.devices=2"]
    with monkeypatch.context() as one_gpu:
        one_gpu.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(UserError, match="2 processes need a GPU each, here are 1"):
            pretrain(compose("pretrain", [*words, "device=cuda"]))
    with pytest.raises(UserError, match="is one device, not 2"):
        pretrain(compose("pretrain", [*words, "device=cuda:0"]))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'weit_rl\[distributed\]'"):
        pretrain(compose("pretrain", words))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", ["train", "pretrain"])
@pytest.mark.parametrize("words", [
    ["env=HalfCheetah", "body.torso=1.25", "data=/a b=c, [d]/'x'.hdf5", "widths=[32]"], ["env=[HalfCheetah, Hopper]"],
    ["task=classification", "recipe=imagenet", "batch_size=64"],
])  # fmt: skip
def test_words_make_the_same_config_again(verb, words):
    words = [word for word in words if verb == "pretrain" or not word.startswith(("widths", "env=["))]
    cfg = compose(verb, words if words else ["env=Hopper"])
    assert compose(verb, words_of(verb, cfg)) == cfg


@pytest.mark.parametrize(
    ("codes", "code", "says"),
    [
        ({0: 143, 1: -9}, 1, "process 1 of 2 was ended by SIGKILL"),  # the agent ended the first one for it
        ({0: -15, 1: -9}, 1, "process 1 of 2 was ended by SIGKILL"),
        ({0: 143, 1: -15}, 143, "stopped by SIGTERM"),
        ({0: 130, 1: -2}, 130, "stopped by SIGINT"),
        ({0: 1, 1: 2}, 2, ""),
    ],
)
def test_exit_codes_of_processes_become_one_error(codes, code, says):
    failures = {rank: SimpleNamespace(exitcode=end) for rank, end in codes.items()}
    found = error_of_exits(SimpleNamespace(failures=failures), 2, "; go on")
    ended = found.exit_code if isinstance(found, Interrupted) else found.code
    assert ended == code and (says in f"{found}" or not says)
