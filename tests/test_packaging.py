"""The package as users get it: a light import, a wheel that holds everything and nothing else, and who imports whom."""

import ast
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from weit_rl.options.option_table import VERBS

ROOT = Path(__file__).parents[1]
FOLDERS = {"weit_rl": "weit_rl", "envs": "weit_rl/envs", "agents": "weit_rl/agents", "configs": "weit_rl/configs"}
SOURCES = {  # where a file lies in the repository -> where it lies once installed
    path: FOLDERS[folder] + path.relative_to(ROOT).as_posix().removeprefix(folder)
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix != ".pyc"
}

# A folder imports itself and folders before it, nothing else. The commands and what is installed beside them come last.
ORDER = [
    *("common", "storage", "options", "kernels", "core", "envs", "data", "models", "fitting", "training"),
    *("initializers", "agents", "tasks", "deploy", "workflows", "comparison", "vision"),
    *("benchmark", "collect", "evaluate", "export", "pretrain", "train", "__main__"),
]
MODULES = {path: name for path, name in SOURCES.items() if path.suffix == ".py"}


def imports(node):
    """Yield every absolute module name that a piece of source imports, at the top or anywhere inside."""
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            yield from (alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom):
            assert part.level == 0, "relative import"
            # "from weit_rl.training import loop" may name a module too
            yield from (
                [f"weit_rl.{alias.name}" for alias in part.names] if part.module == "weit_rl" else [part.module]
            )


def at_import_time(path):
    """Return the imports that run with the module, not those in functions or for mypy alone."""
    body = ast.parse(path.read_text()).body
    return ast.Module([part for part in body if isinstance(part, ast.Import | ast.ImportFrom)], [])


def inside(name):
    """Write "weit_rl/envs/registry.py" as "envs.registry"."""
    name = f"{name.removeprefix('weit_rl/').removesuffix('.py')}"
    return "" if name == "__init__" else name.removesuffix("/__init__").replace("/", ".")


NAMES = {inside(name): path for path, name in MODULES.items()}  # "envs.registry" -> its file; "" is weit_rl itself


def modules_imported(path):
    """Return every module of weit_rl that a file imports, at the top or anywhere inside, as "envs.registry"."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]  # of a module, or of a name inside of one
            names = [name if name.removeprefix("weit_rl.") in NAMES else node.module for name in whole]
        else:
            continue
        yield from (name.removeprefix("weit_rl.") for name in names if name.startswith("weit_rl."))


def test_every_folder_has_its_place():
    assert {name.split(".")[0] for name in NAMES} == {*ORDER, "", "configs"}


@pytest.mark.parametrize("path", MODULES, ids=MODULES.get)
def test_a_folder_imports_only_folders_before_it(path):
    group = inside(MODULES[path]).split(".")[0]
    place = ORDER.index(group) if group in ORDER else -1
    before = {"configs": [], "": ["common", "core"]}.get(group, ORDER[: place + 1])
    for name in modules_imported(path):
        assert name in NAMES, f"{path}: imports {name}, which there is not"
        assert name.split(".")[0] in before, f"{group} must not import {name}, whose folder comes after it"


def test_no_files_import_each_other_in_a_circle():
    arrows = {name: set(modules_imported(path)) - {name} for name, path in NAMES.items()}
    while leaves := [name for name, targets in arrows.items() if not targets & arrows.keys()]:
        for name in leaves:
            del arrows[name]
    assert not arrows, f"in circles, or lead to one: {sorted(arrows)}"


@pytest.mark.parametrize("path", MODULES, ids=MODULES.get)
def test_who_uses_which_library(path):
    name = inside(MODULES[path])
    group = name.split(".")[0]
    everywhere = {module.split(".")[0] for module in imports(ast.parse(path.read_text()))}
    at_once = {module.split(".")[0] for module in imports(at_import_time(path))} - set(sys.stdlib_module_names)
    assert "pickle" not in everywhere
    assert group == "agents" or not everywhere & {"stable_baselines3", "sb3_contrib"}
    if group in ("common", "storage", "options"):  # what is wrong with a command's words is said before torch is loaded
        assert "torch" not in at_once
    if group == "kernels":
        assert everywhere <= set(sys.stdlib_module_names) | {"weit_rl", "torch", "triton"}
    wrapped = name.startswith("envs.wrappers.")  # classes that a process may send another
    if group == "envs":  # simulators are imported when one is made
        assert at_once <= {"weit_rl", "numpy"} | ({"gymnasium"} if wrapped else set())
    if not wrapped:
        assert not any(module.startswith("weit_rl.envs.wrappers.") for module in imports(at_import_time(path)))
    if group in VERBS and group == name:  # a verb answers --help at once
        assert at_once <= {"weit_rl"}


def python(code, cwd, executable=sys.executable):
    done = subprocess.run([executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_weit_rl_is_light():
    code = "import sys, weit_rl; print({'torch', 'hydra', 'numpy', 'yaml', 'gymnasium'} & set(sys.modules))"
    assert python(code, ROOT) == "set()"


def test_public_names_resolve():
    import weit_rl

    assert all(getattr(weit_rl, name) is not None for name in weit_rl.__all__)
    assert set(weit_rl.__all__) <= set(dir(weit_rl))
    with pytest.raises(AttributeError, match="no attribute 'Wiet'"):
        _ = weit_rl.Wiet


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy, since building leaves build/ and an egg-info behind."""
    copy = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    words = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
        "-w",
        "dist",
        ".",
    ]
    done = subprocess.run([sys.executable, "-m", "pip", *words], cwd=copy, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return next((copy / "dist").glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == set(SOURCES.values())


@pytest.mark.slow
def test_the_wheel_works_from_another_folder(wheel, tmp_path):
    """Check it in an environment of its own that sees the libraries of this one, but not its weit_rl."""
    venv.create(tmp_path / "env", symlinks=True)
    executable = str(tmp_path / "env" / "bin" / "python")
    site = Path(python("import sysconfig; print(sysconfig.get_path('purelib'))", tmp_path, executable))
    zipfile.ZipFile(wheel).extractall(site)
    (site / "libraries.pth").write_text("\n".join(folder for folder in sys.path if "-packages" in folder))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = """
import weit_rl, weit_rl.agents, weit_rl.configs, weit_rl.envs.registry as entry
from weit_rl.options.command import compose
print(weit_rl.__file__, weit_rl.agents.__file__, weit_rl.configs.__file__, entry.__file__, sep="\\n")
print(compose("train").env, "HalfCheetah" in entry.ENVS.names())
"""
    *files, last = python(code, elsewhere, executable).splitlines()
    assert all(file.startswith(str(site)) for file in files) and last == "HalfCheetah True"
    words = [executable, "-m", "weit_rl.train", "--help"]
    done = subprocess.run(words, cwd=elsewhere, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "size.width=null" in done.stdout
    assert not list(elsewhere.iterdir())
