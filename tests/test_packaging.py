"""The package as users get it: a light import, a wheel that holds everything and nothing else, and who imports whom."""

import ast
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"weit_rl": "weit_rl", "envs": "weit_rl/envs", "agents": "weit_rl/agents", "configs": "weit_rl/configs"}
SOURCES = {  # where a file lies in the repository -> where it lies once installed
    path: FOLDERS[folder] + path.relative_to(ROOT).as_posix().removeprefix(folder)
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix != ".pyc"
}

# Who may import whom inside weit_rl (beside itself); CONTRIBUTING.md shows it shorter. What is not listed here, the
# verbs and their workflows, may import everything.
BASE = {
    "errors",
    "registry",
    "seeds",
    "sizes",
    "atomic",
    "choices",
    "cpu_cores",
    "home",
    "jsonfile",
    "limits",
    "lock",
    "options",
    "output",
    "tensorfile",
    "world",
}
MAY_IMPORT = {
    "errors": set(),
    "registry": {"errors"},
    "sizes": {"errors", "registry"},
    "seeds": set(),
    "atomic": {"errors"},
    "lock": {"errors", "atomic"},
    "limits": set(),
    "cpu_cores": set(),
    "output": set(),
    "home": {"errors"},
    "world": set(),
    "jsonfile": {"errors"},
    "value_kinds": set(),
    "options": {"errors", "registry", "value_kinds"},
    "tensorfile": {"errors", "atomic"},
    "choices": {"errors", "registry", "seeds", "sizes", "world"},
    "made_for": {"choices", "errors"},
    "early": BASE | {"data", "envs", "made_for", "training"},
    "recipes": {"errors", "home", "options", "registry"},
    "command": BASE | {"early", "recipes"},
    "kernels": set(),
    "unready": {"errors"},
    "plan": BASE | {"infer", "unready"},
    "block_places": {"plan"},
    "parameter_axes": set(),
    "infer": BASE | {"block_places", "parameter_axes", "plan", "unready"},
    "resize": BASE | {"plan"},
    "scaling": BASE | {"plan", "resize"},
    "spectrum": set(),
    "theory": {"plan"},
    "rank": BASE | {"bank", "plan", "spectrum", "weit"},
    "masks": BASE | {"plan"},
    "constraints": BASE | {"kernels", "plan"},
    "parameters": set(),
    "normaliser": set(),
    "hub": {"errors", "home"},
    "model_card": {"choices", "errors", "models", "sizes"},
    "bank": BASE | {"constraints", "hub", "model_card", "normaliser", "parameters", "plan", "resize"},
    "factors": {"bank", "parameters", "plan"},
    "placeholder": {"errors"},
    "skeleton": {"errors", "placeholder", "plan"},
    "turn": set(),
    "weit": BASE
    | {"bank", "constraints", "factors", "parameters", "placeholder", "plan", "skeleton", "turn", "unready"},
    "bodies": BASE | {"bank", "plan"},
    "start": BASE | {"bank", "plan", "resize", "weit"},
    "regression": set(),
    "activations": set(),
    "kept": {"activations", "plan", "regression"},
    "reconstruction": {"activations", "kept", "plan", "regression", "weit"},
    "linear_probe": {"plan", "regression", "start", "weit"},
    "models": BASE | {"normaliser", "plan"},
    "shipped": {"choices", "errors", "home", "models", "tensorfile"},
    "envs": BASE,
    "data": BASE | {"envs"},
    "deploy": BASE | {"envs"},
    "training": BASE | {"bank", "masks", "models", "normaliser", "plan", "resize", "skeleton", "weit"},
    "initializers": BASE
    | {"bank", "bodies", "kept", "linear_probe", "parameters", "plan", "reconstruction", "resize", "spectrum", "start"}
    | {"skeleton", "training.loop", "weit"},
    "agents": BASE
    | {"bank", "bodies", "data", "envs", "initializers", "made_for", "models", "plan", "regression", "shipped", "start"}
    | {"training", "weit"},
    "tasks": BASE | {"agents", "bank", "data", "envs", "models", "normaliser", "plan", "training", "weit"},
}
MODULES = {path: name for path, name in SOURCES.items() if path.suffix == ".py"}


def imports(node):
    """Every absolute module name that a piece of source imports, at the top or anywhere inside."""
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
    """The statements that run when the module is imported (not the bodies of functions, nor what only mypy reads)."""
    body = ast.parse(path.read_text()).body
    return ast.Module([part for part in body if isinstance(part, ast.Import | ast.ImportFrom)], [])


def inside(name):
    """ "weit_rl/envs/entry.py" as "envs.entry"."""
    return name.removeprefix("weit_rl/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("path", MODULES, ids=MODULES.get)
def test_who_imports_whom(path):
    group = inside(MODULES[path]).split(".")[0]
    if group not in MAY_IMPORT:
        return
    for name in imports(ast.parse(path.read_text())):
        if name.startswith("weit_rl."):
            wanted = name.removeprefix("weit_rl.")
            allowed = MAY_IMPORT[group] | {group}
            assert any(f"{wanted}.".startswith(f"{one}.") for one in allowed), f"{group} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=MODULES.get)
def test_who_uses_which_library(path):
    name = inside(MODULES[path])
    group = name.split(".")[0]
    everywhere = {module.split(".")[0] for module in imports(ast.parse(path.read_text()))}
    at_once = {module.split(".")[0] for module in imports(at_import_time(path))} - set(sys.stdlib_module_names)
    assert "pickle" not in everywhere
    assert group == "agents" or not everywhere & {"stable_baselines3", "sb3_contrib"}
    if group in ("errors", "registry", "sizes", "atomic"):
        assert everywhere <= set(sys.stdlib_module_names) | {"weit_rl"}
    if group == "kernels":
        assert everywhere <= set(sys.stdlib_module_names) | {"weit_rl", "torch", "triton"}
    wrapped = name.startswith("envs.wrappers.")  # classes that a process may send another
    if group == "envs":  # simulators are imported when one is made
        assert at_once <= {"weit_rl", "numpy"} | ({"gymnasium"} if wrapped else set())
    if not wrapped:
        assert not any(module.startswith("weit_rl.envs.wrappers.") for module in imports(at_import_time(path)))
    if (ROOT / "configs" / f"{group}.yaml").exists() and group == name:  # a verb answers --help at once
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
    """The wheel, built from a copy, since building leaves build/ and an egg-info behind."""
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


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == set(SOURCES.values())


def test_the_wheel_works_from_another_folder(wheel, tmp_path):
    """In an environment of its own that sees the libraries of this one, but not its weit_rl."""
    venv.create(tmp_path / "env", symlinks=True)
    executable = str(tmp_path / "env" / "bin" / "python")
    site = Path(python("import sysconfig; print(sysconfig.get_path('purelib'))", tmp_path, executable))
    zipfile.ZipFile(wheel).extractall(site)
    (site / "libraries.pth").write_text("\n".join(folder for folder in sys.path if "-packages" in folder))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = """
import weit_rl, weit_rl.agents, weit_rl.configs, weit_rl.envs.entry as entry
from weit_rl.command import compose
print(weit_rl.__file__, weit_rl.agents.__file__, weit_rl.configs.__file__, entry.__file__, sep="\\n")
print(compose("train").env, "HalfCheetah" in entry.load_families().names())
"""
    *files, last = python(code, elsewhere, executable).splitlines()
    assert all(file.startswith(str(site)) for file in files) and last == "HalfCheetah True"
    words = [executable, "-m", "weit_rl.train", "--help"]
    done = subprocess.run(words, cwd=elsewhere, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "size.width=null" in done.stdout
    assert not list(elsewhere.iterdir())
