"""Speech, video and multimodal control come through the same interface: the core knows nothing of any of them."""

import ast
import re
import subprocess
import sys

import pytest
from test_packaging import MODULES, ROOT, SOURCES, imports, inside

from weit_rl.data.images import SOURCES as IMAGE_SOURCES
from weit_rl.models import MODELS

CORE = {"core", "kernels", "fitting", "initializers"}
BESIDE = (
    "common.",
    "storage.",
    "options.choices",
    "options.model_words",
    "training.loop",
)  # of the rest
LIBRARIES = {"torch", "triton", "pywt", "huggingface_hub", "weit_rl"}
HEAVY = {"PIL", "scipy", "torchvision", "timm", "diffusers", "gymnasium", "mujoco", "minari", "imageio"}
FILES = {path: path.read_text() for path, name in MODULES.items() if inside(name).split(".")[0] in CORE}
ADDED = {"speech": IMAGE_SOURCES, "video": MODELS, "multimodal": MODELS}
WORDS = r"speech|sound|audio|wav|mel|spectrogram|video|clip of|tubelet|frame|pixel|multimodal"


def test_the_core_imports_no_library_of_a_modality_and_no_module_that_has_one():
    assert {inside(MODULES[path]).split(".")[0] for path in FILES} == CORE
    found = {name for source in FILES.values() for name in imports(ast.parse(source))}
    assert {name.split(".")[0] for name in found} - set(sys.stdlib_module_names) == LIBRARIES
    ours = {name.removeprefix("weit_rl.") for name in found if name.startswith("weit_rl.")}
    assert not {name for name in ours if name.split(".")[0] not in CORE and not name.startswith(BESIDE)}


def test_the_core_does_not_even_name_them():
    named = {path.name: re.findall(rf"\b({WORDS})s?\b", source, re.IGNORECASE) for path, source in FILES.items()}
    assert {name: words for name, words in named.items() if words} == {}


def test_importing_the_core_loads_no_library_of_a_modality():
    modules = sorted(f"weit_rl.{inside(MODULES[path])}" for path in FILES)
    code = f"import importlib, sys; [importlib.import_module(name) for name in {modules}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "weit_rl.core.composed_network" in loaded and not loaded & HEAVY


@pytest.mark.parametrize("name", ADDED)
def test_each_modality_is_one_file(name):
    assert name in ADDED[name].names()
    adding = [path for path in SOURCES if path.suffix == ".py" and f'.add("{name}"' in path.read_text()]
    assert [path.stem for path in adding] == [name]
    elsewhere = [path for path in FILES if re.search(rf'["\']{name}["\']', FILES[path])]
    assert elsewhere == []
