"""A new member of each registry is one file, beside the others or in another package, and nothing else is edited."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from plug_in_checks import PACKAGES

SOURCES = Path(__file__).parent / "plug_ins"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Return each plug-in's error by its name; one process checks all, since imports take most of the time."""
    root = tmp_path_factory.mktemp("plug_ins")
    package, info = root / "my_plug_ins", root / "my_plug_ins-1.dist-info"
    package.mkdir()
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plug-ins\nVersion: 1\n")
    groups = []
    for kind, (home, registry, group) in PACKAGES.items():
        source = (SOURCES / f"{kind}.py").read_text()
        (package / f"entry_{kind}.py").write_text(source)
        groups.append(f"[{group}]\nentry_{kind} = my_plug_ins.entry_{kind}:MEMBER\n")
        (root / kind).mkdir()
        module, attribute = registry.split(":")
        add = f"\nfrom {home}.{module} import {attribute}\n{attribute}.add('file_{kind}', MEMBER)\n"
        (root / kind / f"file_{kind}.py").write_text(source + add)
    (info / "entry_points.txt").write_text("\n".join(groups))
    code = f"import sys, runpy; sys.path.insert(0, {str(root)!r}); sys.argv = ['checks', {str(root)!r}]; "
    code += f"runpy.run_path({str(SOURCES.with_name('plug_in_checks.py'))!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("how", ["file", "entry"])
@pytest.mark.parametrize("kind", PACKAGES)
def test_a_new_member_works_at_once(outcomes, kind, how):
    assert outcomes[f"{how}_{kind}"] == ""


def test_every_registry_that_takes_entry_points_is_tried():
    """Check that a new registry has a plug-in here; that of exports has the tasks whose networks can be exported."""
    root = Path(__file__).parents[1]
    files = [*(root / "weit_rl").rglob("registry.py"), root / "envs" / "registry.py"]
    groups = {group for *_, group in PACKAGES.values()}
    named = {word for file in files for word in file.read_text().split('"') if word.startswith("weit_rl.")}
    packages = {package for package, *_ in PACKAGES.values()}
    assert named - packages - groups == {"weit_rl.exports"}


PARITY = """
from weit_rl.tasks import Measure, TaskEntry, task_entry

def parity(cfg, tile=16):
    task = task_entry("classification").make(cfg, tile)
    task.name = "parity"
    return task

ENTRY = TaskEntry(parity, lambda cfg: "parity", Measure(("accuracy", "top5"), "accuracy"))
"""


@pytest.mark.slow
def test_an_installed_package_adds_a_task(tmp_path):
    pytest.importorskip("timm", reason="the vision extra is not installed")
    (tmp_path / "parity_task.py").write_text(PARITY)
    info = tmp_path / "parity_task-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parity-task\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[weit_rl.tasks]\nparity = parity_task:ENTRY\n")
    words = ["task=parity", "model=vit", "size=32x1", "init=scratch", "train_steps=2", f"run_dir={tmp_path / 'run'}"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run([sys.executable, "-m", "weit_rl.train", *words], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "parity 32x1, init scratch" in done.stdout
