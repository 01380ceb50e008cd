"""The cores that a process may use, and how its threads wait."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from weit_rl.common import cpu_cores
from weit_rl.training.device import set_up_torch
from weit_rl.workflows.process_launch import agent_environment

ROOT = Path(__file__).parents[1]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a machine with 8 cores and the given control groups."""

    def make(group="", **files):
        for name in (*cpu_cores.WAITING, cpu_cores.THREADS, cpu_cores.SCHEDULER):
            monkeypatch.delenv(name, raising=False)
        (tmp_path / "cgroup").write_text(group)
        for name, text in files.items():
            path = tmp_path / "mounts" / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs", "cpu.cfs")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(cpu_cores, "GROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(cpu_cores, "MOUNTS", tmp_path / "mounts")
        monkeypatch.setattr(cpu_cores, "threads_written", set())
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)  # macOS lacks it

    return make


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/\n", {"cpu_max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu_max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu_max": "350000 100000\n"}, 3),
        ("0::/\n", {"cpu_max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu_max": "6400000 100000\n"}, 8),
        ("0::/a/b\n", {"a__b__cpu_max": "max 100000", "a__cpu_max": "400000 100000"}, 4),
        ("5:memory:/x\n4:cpu,cpuacct:/x\n0::/\n",
         {"cpu,cpuacct__x__cfs_quota_us": "300000\n", "cpu,cpuacct__x__cfs_period_us": "100000\n"}, 3),
        ("4:cpu:/docker/1\n", {"cpu__cfs_quota_us": "250000", "cpu__cfs_period_us": "100000"}, 2),
        ("4:cpu:/\n", {"cpu__cfs_quota_us": "-1", "cpu__cfs_period_us": "100000"}, 8),
        ("0::/\n", {"cpu_max": "what is this\n"}, 8),
        ("", {}, 8),
    ],
)  # fmt: skip
def test_a_control_group_limits_the_cores(machine, group, files, cores):
    machine(group, **files)
    assert cpu_cores.usable_cores() == cores


def test_a_slurm_job_and_other_processes_limit_the_cores(machine, monkeypatch):
    machine()
    assert [cpu_cores.threads_per_process(count) for count in (1, 3, 20)] == [8, 2, 1]
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert cpu_cores.usable_cores() == 4
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "")
    assert cpu_cores.usable_cores() == 8


def test_the_affinity_of_the_process_limits_the_cores(machine, monkeypatch):
    machine()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert cpu_cores.usable_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert cpu_cores.usable_cores() == (os.cpu_count() or 1)


@pytest.mark.parametrize("given", [None, *cpu_cores.WAITING])
def test_a_short_spin_unless_the_user_says_how_threads_wait(machine, monkeypatch, given):
    machine()
    if given:
        monkeypatch.setenv(given, "7")
    cpu_cores.shorten_spinning()
    assert os.environ.get("GOMP_SPINCOUNT") == {None: "10000", "GOMP_SPINCOUNT": "7"}.get(given)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)


def test_threads_are_limited_before_torch_is_loaded_unless_the_user_says_how_many(machine, monkeypatch):
    machine("0::/\n", cpu_max="400000 100000")
    cpu_cores.share_cores(2)
    assert os.environ.pop("OMP_NUM_THREADS") == "2" and not cpu_cores.user_chose_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    cpu_cores.share_cores(2)
    assert os.environ["OMP_NUM_THREADS"] == "5" and cpu_cores.user_chose_threads()


def test_no_limit_is_set_if_all_cores_are_usable(machine):
    machine()
    cpu_cores.share_cores()
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(("given", "threads", "expected"), [(None, None, "2"), (None, 3, "3"), ("5", None, "5")])
def test_processes_of_a_run_share_the_cores(machine, monkeypatch, given, threads, expected):
    machine("0::/\n", cpu_max="400000 100000")
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    else:
        cpu_cores.share_cores()  # as the command did that starts them
    with agent_environment(2, threads):
        assert os.environ["OMP_NUM_THREADS"] == expected
    os.environ.pop("OMP_NUM_THREADS", None)


@pytest.mark.parametrize(("threads", "expected"), [(None, 2), (3, 3)])
def test_torch_is_limited_if_it_was_loaded_before(machine, threads, expected):
    machine("0::/\n", cpu_max="200000 100000")
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        set_up_torch(SimpleNamespace(threads=threads, device="cpu", get=lambda name, default: default))
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("given", "spin"), [({}, "10000"), ({"GOMP_SPINCOUNT": "300"}, "300")])
@pytest.mark.skipif(not list(Path(torch.__file__).parent.glob("lib/libgomp*")), reason="this torch has no GNU OpenMP")
@pytest.mark.slow
def test_openmp_reads_the_setting(given, spin):
    """Check that OpenMP reads the setting, also in child processes of one that imported weit_rl."""
    code = "import weit_rl, subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', 'import torch']))"
    environment = {name: value for name, value in os.environ.items() if name not in cpu_cores.WAITING}
    environment |= {"OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": str(ROOT), **given}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"GOMP_SPINCOUNT = '{spin}'" in done.stderr
