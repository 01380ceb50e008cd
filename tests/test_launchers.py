"""Launchers of the comparison: the same rows from every one of them, whatever dies on the way."""

import os
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from weit_rl.benchmark import main as benchmark
from weit_rl.command import compose
from weit_rl.comparison.launchers import LAUNCHERS, Place, launcher_of, work
from weit_rl.comparison.results import read
from weit_rl.errors import UserError
from weit_rl.lock import Occupied, locked
from weit_rl.tasks import kind_named

CELLS = ["methods=[scratch]", "sizes=[32x1, 64x1, 32x2]", "budgets=[250]", "seeds=[0]", "episodes=1", "batch_size=4"]


def needs(package, extra):
    return pytest.mark.skipif(find_spec(package) is None, reason=f"needs the extra {extra}: pip install 'weit_rl[{extra}]'")


def rows(folder):
    """The table, but for what a clock says."""
    return [{**row, "seconds": 0} for row in read(folder / "results.csv", kind_named("control"))]


@pytest.fixture
def local_rows(tiny_data, tmp_path):
    benchmark(compose("benchmark", [*CELLS, "workers=1", f"data={tiny_data}", f"run_dir={tmp_path / 'local'}"]))
    return rows(tmp_path / "local")


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of a Ray cluster on this machine, one CPU each, and the connection to the first."""
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 waits long where the cores are busy
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    import ray

    nodes = Cluster()
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    nodes.add_node(**small, _system_config={"health_check_period_ms": 1000, "health_check_failure_threshold": 3})
    second = nodes.add_node(**small)
    ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes, second
    ray.shutdown()
    nodes.shutdown()


def at_work(node, cells):
    """The cell that a worker of a node has trained for a while, if there is one."""
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


@needs("ray", "ray")
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc for who is at work")
def test_a_node_dies_and_every_cell_is_there_once(cluster, local_rows, tiny_data, tmp_path):
    (nodes, second), folder, killed = cluster, tmp_path / "ray", []

    def kill():
        while not (cell := at_work(second, folder / "cells")):
            time.sleep(0.02)
        nodes.remove_node(second, allow_graceful=False)
        print('killed', time.monotonic() - start)
        killed.append((cell, (cell / "evaluation.json").exists()))

    start = time.monotonic()
    threading.Thread(target=kill, daemon=True).start()
    benchmark(compose("benchmark", [*CELLS, "launcher=ray", f"data={tiny_data}", f"run_dir={folder}"]))
    [(cell, finished)] = killed
    assert not finished
    assert rows(folder) == local_rows
    print(time.monotonic() - start); print((folder / "logs" / f"{cell.name}.txt").read_text())
