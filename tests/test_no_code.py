"""The sources read no file in a way that runs code, but for the few places listed here with reasons."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = ("weit_rl", "envs", "agents", "configs", "benchmarks", "examples", "docs")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
TABLES = "names from a table of this project"
ALLOWED = {  # file, what it does -> why it may
    ("weit_rl/__init__.py", "import by name"): TABLES,
    ("weit_rl/data/__init__.py", "import by name"): TABLES,
    ("weit_rl/data/images/appearance.py", "load"): "of Pillow, the pixels of a picture that is open",
    ("weit_rl/models/images.py", "import by name"): TABLES,
    ("envs/environment_entry.py", "import by name"): "the files of its folder, and their own tables",
    ("envs/camera.py", "import by name"): TABLES,
    ("envs/body_environment.py", "import by name"): "Gymnasium's own table",
    ("envs/any_gymnasium.py", "import by name"): "the module of gym:MODULE:ID, which only a user may name",
    ("weit_rl/core/bank_sharing.py", "load"): "its own, of safetensors",
    ("weit_rl/common/registry.py", "import by name"): "the files of a registry's package",
    ("weit_rl/common/registry.py", "load"): "the entry point of an installed package, by the name that is asked for",
    ("weit_rl/deploy/formats.py", "load"): "of torch.export, bytes that were written just before",
    ("agents/sb3_agent.py", "import by name"): TABLES,
    ("agents/demonstrations.py", "import by name"): "the scripted expert that an environment's entry names",
    ("agents/sb3_agent.py", "load"): "agents of Stable-Baselines3, with allow_pickle=true",
    ("benchmarks/resize_agents/run.py", "load"): "agents that it made itself",
}
LOADERS = ("json", "tl", "suite", "TemplateBank", "SequenceAgent")  # whose load() reads numbers, or shared memory


def findings(source):
    """Yield what in a source can run code that is not its own."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from ("pickle" for name in names if name.split(".")[0] in PICKLES)
            yield from ("instantiate" for name in names if name.startswith("hydra.utils"))
            yield from ("unpacked archive" for name in names if name.split(".")[0] == "tarfile")
        if isinstance(node, ast.Call) and (found := call(node, ast.unparse(node.func))):
            yield found


def call(node, name):
    """Return the kind of a call that can run code, or None."""
    owner, _, last = name.rpartition(".")
    words = {word.arg: ast.unparse(word.value) for word in node.keywords}
    if name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.hub.load", "torch.jit.load"):
        return name
    if last in ("import_module", "resolve_name") and not isinstance(node.args[0], ast.Constant):
        return "import by name"
    if last in ("instantiate", "get_class", "get_method", "get_object") and "hydra" in owner:
        return "instantiate"
    if last in ("extractall", "extract", "unpack_archive"):
        return "unpacked archive"
    if words.get("shell") == "True":
        return "shell"
    if "allow_pickle" in words and last == "load" and words["allow_pickle"] != "False":
        return "numpy's pickles"
    if last == "load" and owner == "torch":
        return None if words.get("weights_only") == "True" else "torch's pickles"
    if last in ("load", "load_all", "unsafe_load", "full_load") and owner == "yaml":
        plain = len(node.args) > 1 and ast.unparse(node.args[1]) in (
            "yaml.BaseLoader",
            "yaml.SafeLoader",
            "_PlainLoader",
        )
        return None if plain and last == "load" else "YAML with objects"
    if last == "load" and owner in ("np", "numpy"):
        return None if words.get("allow_pickle") == "False" else "numpy's pickles"
    return "load" if last == "load" and owner and owner not in LOADERS else None


@pytest.mark.parametrize(
    ("source", "finds"),
    [("import pickle", "pickle"), ("from dill import loads", "pickle"), ("import numpy, joblib.x", "pickle"),
     ("torch.load(path)", "torch's pickles"), ("torch.load(path, weights_only=False)", "torch's pickles"),
     ("np.load(path)", "numpy's pickles"), ("np.load(path, allow_pickle=yes)", "numpy's pickles"),
     ("eval(text)", "eval"), ("exec(text)", "exec"), ("yaml.load(text, yaml.Loader)", "YAML with objects"),
     ("yaml.unsafe_load(text)", "YAML with objects"), ("from hydra.utils import instantiate", "instantiate"),
     ("hydra.utils.instantiate(cfg)", "instantiate"), ("import_module(name)", "import by name"),
     ("subprocess.run(text, shell=True)", "shell"), ("archive.extractall(path)", "unpacked archive"),
     ("SAC.load(path)", "load"), ("os.system(text)", "os.system"),
     ("net.eval(); json.load(file); torch.load(p, weights_only=True); yaml.load(t, yaml.SafeLoader)", None),
     ("import_module('torch'); np.load(p, allow_pickle=False); load(data)", None)],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(source, finds):
    assert list(findings(source)) == ([finds] if finds else [])


def test_no_source_can_be_made_to_run_code():
    found = {(path.relative_to(ROOT).as_posix(), what) for path in SOURCES for what in findings(path.read_text())}
    assert len(SOURCES) > 150
    assert found - ALLOWED.keys() == set(), "what is read may run code; read it otherwise, or say why not"
    assert ALLOWED.keys() - found == set(), "an exception that nobody needs any more"


def test_no_config_has_a_target():
    for path in (ROOT / "configs").glob("*.yaml"):
        assert "_target_" not in path.read_text() and isinstance(yaml.safe_load(path.read_text()), dict)
