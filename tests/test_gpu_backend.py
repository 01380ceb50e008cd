"""GPU kernels without a GPU: the choice of the backend, and the kernels interpreted and compiled ahead of time."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from shared_kernels import ROLES, assert_alike, by_kron, factors

from weit_rl.kernels import gpu_backend

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "error", [RuntimeError("Failed to find C compiler.\nmore"), ImportError("No module named triton")]
)
def test_without_kernels_the_reference_runs_and_says_so_once(error, monkeypatch):
    def fails(*_):
        raise error

    monkeypatch.setattr(torch.cuda, "get_device_capability", fails)
    gpu_backend.gpu_backend.cache_clear()
    scalers, templates = factors((2, 3), (4, 2))
    with pytest.warns(UserWarning, match=str(error).splitlines()[0]) as seen:
        made = gpu_backend.compose_on_gpu([s.detach() for s in scalers], [t.detach() for t in templates], ROLES)
    assert len(seen) == 1 and "\n" not in str(seen[0].message)
    assert_alike(made, by_kron(scalers, templates), torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gpu_backend.compose_on_gpu([s.detach() for s in scalers], [t.detach() for t in templates], ROLES)
    gpu_backend.gpu_backend.cache_clear()


def run_apart(name, **environment):
    """Run a file of this folder in its own process, because Triton reads its environment at import."""
    pytest.importorskip("triton", reason="Triton is only for Linux")
    done = subprocess.run(
        [sys.executable, str(HERE / name)],
        cwd=HERE.parent,
        env={**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_gpu_kernels_in_the_interpreter():
    assert "alike" in run_apart("interpreted_kernels.py", TRITON_INTERPRET="1")


@pytest.mark.slow
def test_gpu_kernels_compile_without_spills_to_vector_stores(tmp_path):
    assert "compiled" in run_apart("compiled_kernels.py", TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))
