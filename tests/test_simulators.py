"""Simulators and their pictures: silent, imported where they are used, and one line where they are missing."""

import os
import subprocess
import sys
import warnings
from ctypes.util import find_library

import pytest
from conftest import draws
from shared_envs import METAWORLD, MUJOCO, SUITE, refusal

from weit_rl.envs.camera import renderer
from weit_rl.envs.mujoco_warnings import on_warning
from weit_rl.envs.registry import env_entry

DMC_CHEETAH = pytest.param("dmc/cheetah-run", marks=SUITE)
REACH = pytest.param("metaworld/plate-slide-side", marks=METAWORLD)  # its own space has goals of one point


def run(code, folder, **variables):
    chosen = ("DISPLAY", "MUJOCO_GL", "PYOPENGL_PLATFORM")  # by whoever ran, or by a renderer that a test before tried
    environment = {name: value for name, value in os.environ.items() if name not in chosen}
    words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, env=environment | variables)


def test_importing_the_package_and_the_rows_imports_no_simulator(tmp_path):
    heavy = "sorted({'torch', 'gymnasium', 'mujoco', 'dm_control', 'metaworld'} & set(sys.modules))"
    code = f"import sys, weit_rl.envs; from weit_rl.envs.registry import ENVS; ENVS; print({heavy})"
    done = run(code, tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", ["HalfCheetah", "HalfCheetah:limbs=0.9", DMC_CHEETAH, REACH, "gym:HalfCheetah-v5"])
def test_making_one_prints_nothing_and_leaves_no_file(name, tmp_path):
    done = run(f"from weit_rl.envs.registry import env_entry; env_entry({name!r}).make().reset(seed=0)", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_other_simulator_warnings_reach_python(capsys):
    with pytest.warns(RuntimeWarning, match="QACC"):
        on_warning("Nan, Inf or huge value in QACC")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # raising inside the simulator's C code would end the process
        on_warning("Nan, Inf or huge value in QACC")
    assert "QACC" in capsys.readouterr().err


def test_a_missing_simulator_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    assert "mujoco is missing; pip install" in refusal(env_entry("Hopper").make)
    monkeypatch.setitem(sys.modules, "dm_control.suite", None)
    assert "pip install 'weit_rl[dmc]'" in refusal(env_entry("dmc/walker-walk").make)
    monkeypatch.setitem(sys.modules, "gymnasium.envs.classic_control.pendulum", None)
    monkeypatch.setitem(sys.modules, "gymnasium.envs.classic_control", None)
    assert "env gym:Pendulum-v1: cannot be made" in refusal(env_entry("gym:Pendulum-v1").make)


def test_missing_meta_world_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "metaworld", None)
    assert "pip install 'weit_rl[metaworld]'" in refusal(env_entry("metaworld/reach").make)


# --- pictures


def test_a_missing_renderer_is_one_line(tmp_path):
    code = "from weit_rl.envs.registry import env_entry\nenv_entry('Hopper').make()"
    done = run(code, tmp_path, MUJOCO_GL="nothing")
    assert "UserError: env Hopper-v5: MUJOCO_GL=nothing does not work here; unset it" in done.stderr


@pytest.mark.parametrize("name", MUJOCO)
def test_pictures_follow_the_body_if_the_camera_does(name):
    env = env_entry(name).make(render_mode="rgb_array")
    model, camera = env.unwrapped.model, env.unwrapped.mujoco_renderer.camera_id
    cameras = [model.camera(i).name for i in range(model.ncam)]
    assert camera == (cameras.index("track") if "track" in cameras else -1)
    env.close()


PICTURE = """
import sys
from weit_rl.envs.registry import env_entry
env = env_entry(sys.argv[1]).make(render_mode="rgb_array")
env.reset(seed=0)
print(env.render().shape, env.render().dtype, env.metadata["render_fps"] > 0)
import torch  # brings libraries that must not come after the renderer's
torch.optim.Adam(torch.nn.Linear(2, 2).parameters())
print("done")
"""


@draws
@pytest.mark.parametrize("name", ["Reacher", pytest.param("dmc/walker-walk", marks=SUITE), REACH])
@pytest.mark.slow
def test_pictures_without_a_screen(name, tmp_path):
    """Check it in a process of its own, since a renderer may fail in C."""
    code = f"import sys; sys.argv = ['', {name!r}]\n{PICTURE}"
    done = run(code, tmp_path, MUJOCO_GL=renderer())
    assert done.stdout.split("\n") == ["(480, 480, 3) uint8 True", "done", ""], done.stderr


OURS = "from weit_rl.envs.registry import env_entry; env_entry({!r}).make().reset(seed=0)"


@pytest.mark.parametrize(
    "first",
    [OURS.format("HalfCheetah"), OURS.format("HalfCheetah:pixels=16"), "import mujoco; import weit_rl.agents"],
)
@pytest.mark.slow
def test_a_software_renderer_and_triton_do_not_meet(first, tmp_path):
    """Check both orders: MuJoCo loads the renderer that MUJOCO_GL names at its import, perhaps before weit_rl's."""
    code = f"""
{first}
import torch
torch.optim.Adam(torch.nn.Linear(2, 2).parameters())
print("done")
"""
    if find_library("OSMesa") is None:
        pytest.skip("the software renderer is not installed: apt-get install libosmesa6")
    done = run(code, tmp_path, MUJOCO_GL="osmesa")
    assert done.stdout == "done\n", done.stderr
