"""A new member of each registry is one file, beside the others or in another package, and nothing else is edited."""

import json
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
    """A new registry needs a plug-in here; that of exports has the tasks whose networks can be exported."""
    root = Path(__file__).parents[1]
    files = [*(root / "weit_rl").rglob("registry.py"), root / "envs" / "registry.py"]
    groups = {group for *_, group in PACKAGES.values()}
    named = {word for file in files for word in file.read_text().split('"') if word.startswith("weit_rl.")}
    packages = {package for package, *_ in PACKAGES.values()}
    assert named - packages - groups == {"weit_rl.exports"}
