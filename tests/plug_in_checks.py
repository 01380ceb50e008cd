"""Checks of plug-ins for tests/test_plug_ins.py, run in a separate process, which prints their outcomes as JSON."""

import json
import sys
import traceback
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

PACKAGES = {  # kind of plug-in -> package of its registry, registry, group of entry points
    "environment": ("weit_rl.envs", "registry:ENVS", "weit_rl.environments"),
    "data_format": ("weit_rl.data.formats", "registry:FORMATS", "weit_rl.data_formats"),
    "image_source": ("weit_rl.data.images", "registry:SOURCES", "weit_rl.image_sources"),
    "model": ("weit_rl.models", "registry:MODELS", "weit_rl.models"),
    "task": ("weit_rl.tasks", "registry:TASKS", "weit_rl.tasks"),
    "initializer": ("weit_rl.initializers", "registry:INITIALIZERS", "weit_rl.initializers"),
    "constraint": ("weit_rl.core.constraints", "registry:CONSTRAINTS", "weit_rl.constraints"),
    "export_format": ("weit_rl.deploy", "registry:FORMATS", "weit_rl.export_formats"),
    "launcher": ("weit_rl.comparison.launchers", "registry:LAUNCHERS", "weit_rl.launchers"),
}


def config(verb, *words):
    """Compose the config of a command."""
    from weit_rl.options.command import compose

    return compose(verb, words)


def environment(name, registry, folder):
    from weit_rl.envs.registry import env_entry

    env = env_entry(config("train", f"env={name}").env).make()
    env.reset(seed=0)
    observation, reward, *_ = env.step(np.ones(1, np.float32))
    assert observation.tolist() == [2] and reward == 2 and env_entry(name).sizes == (1, 1)


def data_format(name, registry, folder):
    from weit_rl.data import load_trajectories
    from weit_rl.envs.registry import env_entry

    path = folder / f"walk.{name}"
    path.write_text("0 1 1\n1 2 2\n3 1 1\n")
    cfg = config("train", f"data={path}", f"env={name.replace('data_format', 'environment')}")
    read = load_trajectories(cfg.data, env_entry(cfg.env))
    assert read.info["format"] == name and read.actions.tolist() == [[0.5], [1], [0.5]]


def image_source(name, registry, folder):
    from weit_rl.data.images import load_images

    images = load_images(config("train", "task=classification", f"data={name}").data)
    assert images.classes == ("black", "white") and len(images.test) == 8


def model(name, registry, folder):
    from weit_rl.common.sizes import Size
    from weit_rl.models.registry import command_options

    net = registry.get(config("train", f"model={name}").model).make(Size(32, 1), observation_dim=3, action_dim=2)
    asked = command_options(config("train", f"model={name}", "model_options={heads: 3}"))
    assert registry.get(name).make(Size(32, 1), observation_dim=3, action_dim=2, **asked).heads == 3
    seen = torch.ones(1, 3)
    assert net.normalised(seen).tolist() == [[-1, -1, -1]] and registry.get(name).plan(16).layout(net)


def task(name, registry, folder):
    from weit_rl.tasks import task_entry_of

    cfg = config("train", f"task={name}", "data=digits", "init=scratch")
    task_entry_of(cfg).prepare(cfg)
    made = task_entry_of(cfg).make(cfg)
    assert made.name == task_entry_of(cfg).name(cfg) == name


def initializer(name, registry, folder):
    from weit_rl.initializers import with_options

    cfg = config("train", f"init={name}", "init_options={value: 2}")
    make = with_options(cfg.init, registry.get(cfg.init), cfg.init_options)
    assert make(None, torch.nn.Linear(1, 1), None)["weight"].item() == 2


def constraint(name, registry, folder):
    own = registry.get(config("pretrain", f"constraint={name}").constraint)
    drawn, usual = (
        one.shared(4, (2, 2), 1.0, torch.Generator().manual_seed(0)) for one in (own, registry.get("kronecker"))
    )
    assert torch.equal(drawn, 2 * usual)


def export_format(name, registry, folder):
    kind = registry.get(config("export", "run=anywhere", f"format={name}").format)
    written = kind.write(SimpleNamespace(inputs={"observation": None, "time": None}))
    assert kind.suffix == ".names" and kind.step(written, 1)({}) == {"names": ["observation", "time"]}


def launcher(name, registry, folder):
    from weit_rl.comparison.launchers import JobSettings, launcher_of

    work = launcher_of(config("benchmark", f"launcher={name}", "launcher_options={backwards: 1}"))
    done = list(work({"a": (len, ("x",)), "b": (len, ("xy",))}, JobSettings(1, 1, folder)))
    assert done == [("b", 2), ("a", 1)]


def outcome(kind, name, folder):
    """Return an empty text if a plug-in is listed and works, else what went wrong."""
    package, place, _ = PACKAGES[kind]
    module, attribute = place.split(":")
    try:
        registry = getattr(import_module(f"{package}.{module}"), attribute)
        assert name in registry.names(), f"{name} is not among {registry.names()}"
        globals()[kind](name, registry, folder)
    except Exception:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    root = Path(sys.argv[1])
    for kind, (package, *_) in PACKAGES.items():
        import_module(package).__path__.append(str(root / kind))  # as if the file lay beside the others
    print(
        json.dumps(
            {f"{how}_{kind}": outcome(kind, f"{how}_{kind}", root) for kind in PACKAGES for how in ("file", "entry")}
        )
    )
