"""Launchers of the comparison: the same rows from every one of them, whatever dies on the way."""

import os
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import faulty_jobs
import pytest
from conftest import as_long_as_for_users

from weit_rl.benchmark import main as benchmark
from weit_rl.common.errors import UserError
from weit_rl.comparison import runs
from weit_rl.comparison.launchers import LAUNCHERS, JobSettings, launcher_of, work
from weit_rl.comparison.results import read
from weit_rl.options.command import compose
from weit_rl.storage.folder_lock import FolderLocked, lock_folder
from weit_rl.tasks import task_entry

CELLS = ["model=mlp", "methods=[scratch]", "sizes=[32x1, 64x1, 32x2]", "budgets=[600]", "seeds=[0]"]
CELLS += ["episodes=1", "batch_size=4", "pretrain_steps=4"]
PROC = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc for who is at work")
OPTIONS = {"local": {}, "ray": {}, "submitit": {"cluster": "local"}}


def where(package, extra):
    missing = f"needs the extra {extra}: pip install 'weit_rl[{extra}]'"
    without = pytest.mark.skipif(find_spec(package) is None, reason=missing)
    return pytest.param(package, marks=[without, pytest.mark.slow])


ELSEWHERE = [where("ray", "ray"), where("submitit", "slurm")]


@pytest.fixture(scope="module")
def python_path():
    """Set what the processes of other machines import."""
    with pytest.MonkeyPatch.context() as patch:
        folders = [str(Path(__file__).parents[1]), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
        yield patch


@pytest.fixture(scope="module")
def cluster(python_path):
    """Start two nodes of a Ray cluster on this machine, one CPU each; return them and the connection to the first."""
    import ray
    from ray.cluster_utils import Cluster

    python_path.setenv("RAY_worker_niceness", "0")  # its 15 waits long where the cores are busy
    python_path.setenv("RAY_USAGE_STATS_ENABLED", "0")
    nodes = Cluster()
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    nodes.add_node(**small, _system_config={"health_check_period_ms": 1000, "health_check_failure_threshold": 5})
    second = nodes.add_node(**small)
    ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes, second
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def launched(request, python_path, monkeypatch, tmp_path):
    """Return a function that gives jobs to a launcher and returns their results by name."""

    def launch(name, jobs, **options):
        if name == "ray":
            request.getfixturevalue("cluster")
        if name == "submitit":
            monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 1)  # 15, for slow file servers
        words = [f"launcher={name}", f"launcher_options={OPTIONS[name] | options}"]
        return launcher_of(compose("benchmark", words))(jobs, JobSettings(2, 1, tmp_path / "logs"))

    return launch


@pytest.mark.parametrize("name", ["local", *ELSEWHERE])
@pytest.mark.slow
def test_jobs_keep_what_they_print_and_stop_at_an_error(name, launched, tmp_path):
    assert dict(launched(name, {str(x): (faulty_jobs.double, (x,)) for x in (1, 2)})) == {"1": 2, "2": 4}
    assert [(tmp_path / "logs" / f"{x}.txt").read_text() for x in (1, 2)] == ["doubling 1\n", "doubling 2\n"]
    with pytest.raises(UserError, match=r"^13: thirteen$"):
        list(launched(name, {"13": (faulty_jobs.refuses, ())}))
    with pytest.raises(RuntimeError, match=r"^bug failed$"):
        list(launched(name, {"bug": (faulty_jobs.has_a_bug, ())}))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_job_is_retried_a_few_times_if_its_worker_dies(name, launched, tmp_path):
    jobs = {f"job{x}": (faulty_jobs.dies_once, (str(tmp_path / f"mark{x}"), x)) for x in (1, 2)}
    assert dict(launched(name, jobs)) == {"job1": 1, "job2": 2}
    with pytest.raises(UserError, match=r"^job: was given up after 1 retries .* go on with the same command$"):
        list(launched(name, {"job": (faulty_jobs.always_dies, ())}, retries=1))


@pytest.mark.parametrize("name", ELSEWHERE[1:])
def test_a_job_that_slurm_preempts_resumes(name, launched, tmp_path):
    job = (faulty_jobs.preempted_once, (str(tmp_path / "mark"), 5))
    assert dict(launched(name, {"job": job}, retries=0)) == {"job": 5}
    assert not list(tmp_path.glob("logs/submitit*"))  # pickles


@PROC
@pytest.mark.parametrize("name", ["local", *ELSEWHERE])
@pytest.mark.parametrize("ctrl_c", [signal.SIG_IGN, signal.default_int_handler], ids=["ignored", "heard"])
def test_jobs_stop_if_the_caller_stops_iterating(name, ctrl_c, launched, tmp_path, request):
    before = signal.signal(signal.SIGINT, ctrl_c)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    mark = str(tmp_path / "mark")
    jobs = {"a": (faulty_jobs.sleeps, (mark,)), "b": (faulty_jobs.ends_when_another_is_at_work, (mark,))}
    results = launched(name, jobs)
    _, number = next(results)
    results.close()
    deadline = time.monotonic() + 60
    while alive(number) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(number)


def alive(number):
    """Return True if there is a process of this number that is no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before it was read
        return False


@pytest.mark.parametrize(
    ("words", "says"),
    [(["launcher=rya"], "did you mean ray"), (["launcher_options={retries: 1}"], "launcher=local has none"),
     (["launcher=submitit", "launcher_options={partitoin: a}"], "did you mean partition"),
     (["launcher=submitit", "launcher_options={timeout_min: long}"], "must be an integer"),
     (["launcher=ray", "launcher_options={retries: -1}"], "must be 0 or more"),
     (["launcher=submitit", "launcher_options={cluster: slrum}"], "did you mean slurm"),
     (["launcher=submitit"], "no Slurm here")],
)  # fmt: skip
def test_bad_launchers_are_refused(refused, words, says):
    assert says in refused("benchmark", "methods=[scratch]", *words)


@pytest.mark.parametrize("name", ELSEWHERE[:1])
def test_a_cluster_that_does_not_answer_is_one_line(name, refused, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # it is, where another test came before
    err = refused("benchmark", f"launcher={name}", "launcher_options={address: '127.0.0.1:1'}")
    assert "no cluster answers at 127.0.0.1:1" in err


@pytest.mark.parametrize("name", ["ray", "submitit"])
def test_a_package_that_is_missing_is_one_line(refused, monkeypatch, name):
    monkeypatch.setattr("weit_rl.comparison.launchers.registry.find_spec", lambda package: None)
    extra = LAUNCHERS.get(name).extra
    assert f"launcher={name} needs {name}: pip install 'weit_rl[{extra}]'" in refused("benchmark", f"launcher={name}")


def test_a_retry_waits_for_the_run_folder_of_a_worker_thought_dead(tmp_path, monkeypatch):
    lock = lock_folder(tmp_path)
    threading.Timer(0.5, lock.release).start()
    assert work.wait_for_lock((lambda: bool(lock_folder(tmp_path)), ())) is True
    monkeypatch.setattr(work, "PATIENCE", 0.1)
    (tmp_path / "again").mkdir()
    lock = lock_folder(tmp_path / "again")
    with pytest.raises(FolderLocked):  # and it is not removed, though there is no run in it yet
        work.wait_for_lock((runs.finish_run, ("train", tmp_path / "again", compose("train"))))
    lock.release()


def rows(folder):
    """Read the table, without the columns of time."""
    return [{**row, "seconds": 0} for row in read(folder / "results.csv", task_entry("control"))]


@pytest.fixture(scope="module")
def local_rows(tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    with as_long_as_for_users():
        benchmark(compose("benchmark", [*CELLS, "workers=1", f"data={tiny_data}", f"run_dir={folder}"]))
    return rows(folder)


def at_work(node, cells):
    """Return the cell that a worker of a node has trained for a while, if there is one."""
    raylet = node.all_processes["raylet"][0].process.pid
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if f"\nPPid:\t{raylet}\n" not in status.read_text():
                continue
            opened = {os.path.realpath(file) for file in (status.parent / "fd").iterdir()}
        except OSError:  # it has ended
            continue
        for cell in cells.glob("*"):
            if str(cell / ".lock") in opened and list(cell.glob("checkpoints/*_state.safetensors")):
                return cell
    return None


@PROC
@pytest.mark.parametrize("name", ELSEWHERE[:1])
def test_every_cell_is_there_once_after_a_node_dies(name, cluster, local_rows, tiny_data, tmp_path):
    (nodes, second), killed = cluster, []

    def kill():
        deadline = time.monotonic() + 300
        while not (cell := at_work(second, tmp_path / "cells")) and time.monotonic() < deadline:
            time.sleep(0.02)
        nodes.remove_node(second, allow_graceful=False)
        killed.append((cell / "evaluation.json").exists())

    threading.Thread(target=kill, daemon=True).start()
    benchmark(compose("benchmark", [*CELLS, f"launcher={name}", f"data={tiny_data}", f"run_dir={tmp_path}"]))
    assert killed == [False]
    assert rows(tmp_path) == local_rows and len(local_rows) == 3


@pytest.mark.parametrize("name", ELSEWHERE[1:])
def test_jobs_of_slurm_give_the_same_rows(name, local_rows, tiny_data, tmp_path, python_path):
    words = [*CELLS, "sizes=[32x1]", "workers=2", f"launcher={name}", "launcher_options={cluster: local}"]
    benchmark(compose("benchmark", [*words, f"data={tiny_data}", f"run_dir={tmp_path}"]))
    assert rows(tmp_path) == [row for row in local_rows if row["size"] == "32x1"]
