"""Wrappers of the environment that a data set was recorded in, and what they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from weit_rl.common.errors import UserError
from weit_rl.data.notices import notice
from weit_rl.envs.registry import EnvEntry

# Gymnasium's wrappers, earlier versions included. The set's own action space states what RescaleAction did.
HARMLESS = (
    *("TimeLimit", "Autoreset", "AutoResetWrapper", "PassiveEnvChecker", "OrderEnforcing", "RecordEpisodeStatistics"),
    *("RecordVideo", "RenderCollection", "HumanRendering", "Monitor", "EnvCompatibility", "StepAPICompatibility"),
    *("FlattenObservation", "ReshapeObservation", "DtypeObservation", "DtypeObservationV0"),
    *("NumpyToTorch", "JaxToNumpy", "JaxToTorch", "ArrayConversion", "RescaleAction", "ClipAction"),
)
CHANGED = {
    "observations": (
        *("NormalizeObservation", "TransformObservation", "RescaleObservation", "FilterObservation", "FrameStack"),
        *("FrameStackObservation", "DelayObservation", "TimeAwareObservation", "MaxAndSkipObservation"),
        *("AtariPreprocessing", "DiscretizeObservation", "GrayScaleObservation", "GrayscaleObservation"),
        *("ResizeObservation", "AddRenderObservation", "PixelObservationWrapper", "AddWhiteNoise", "ObstructView"),
    ),
    "actions": ("TransformAction", "DiscretizeAction", "StickyAction", "RepeatAction"),
    "rewards": ("NormalizeReward", "TransformReward", "ClipReward"),
}
DRAWING = ("render_mode", "width", "height", "camera_id", "camera_name", "default_camera_config", "max_geom")


class RecordedEnv(NamedTuple):
    """The environment that a set's ``env_spec`` describes.

    Attributes:
        env_id: Gymnasium's id.
        wrappers: names of its wrappers that the environment here does not have.
        settings: names of its constructor's arguments that differ, except for arguments of drawing.
    """

    env_id: str
    wrappers: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


def recorded_env(spec: Any, entry: EnvEntry) -> RecordedEnv:
    """Read a set's ``env_spec``, Gymnasium's JSON, without importing anything that it names."""
    if spec is None:
        return RecordedEnv("")
    stated, own = _read(spec), _read(_own_spec(entry))
    have = [(_name(one), _text(one.get("kwargs"))) for one in own["additional_wrappers"]]
    extra = [one for one in stated["additional_wrappers"] if (_name(one), _text(one.get("kwargs"))) not in have]
    keys = {key for key in {**stated["kwargs"], **own["kwargs"]} if key not in DRAWING}
    differ = sorted(key for key in keys if _text(stated["kwargs"].get(key)) != _text(own["kwargs"].get(key)))
    same = stated["id"] == own["id"]
    return RecordedEnv(stated["id"], tuple(_name(one) for one in extra), tuple(differ) if same else ())


def check_recorded(made: RecordedEnv, entry: EnvEntry, path: Path) -> None:
    """Raise UserError for wrappers that change the meaning of the numbers; warn of unknown wrappers."""
    for what, names in CHANGED.items():
        if changing := [name for name in made.wrappers if name in names]:
            raise UserError(
                f"data {path}: its {what} went through {', '.join(changing)}, and {entry.name} has no such wrapper, so "
                "they mean something else; record it without, or register an environment that has it and use env=gym:ID"
            )
    known = {*HARMLESS, *(name for names in CHANGED.values() for name in names)}
    if unknown := [name for name in made.wrappers if name not in known]:
        notice(
            path, f" was recorded through {', '.join(unknown)}, which {entry.name} does not have; check what it changes"
        )
    if made.settings:
        notice(path, f" was recorded in {made.env_id} with other settings than here: {', '.join(made.settings)}")


def _own_spec(entry: EnvEntry) -> Any:
    import gymnasium

    _ = entry.raw_spaces  # making the environment registers its body with Gymnasium
    spec = gymnasium.spec(entry.gym_id)
    wrappers = [{"name": one.name, "kwargs": one.kwargs} for one in spec.additional_wrappers]
    return {"id": spec.id, "kwargs": spec.kwargs, "additional_wrappers": wrappers}


def _read(spec: Any) -> dict[str, Any]:
    """Return ``id``, ``kwargs`` and ``additional_wrappers`` of a spec, empty if they are missing."""
    try:
        stated = json.loads(spec) if isinstance(spec, str) else spec
    except (ValueError, RecursionError):
        stated = None
    stated = stated if isinstance(stated, dict) else {}
    wrappers, kwargs = stated.get("additional_wrappers"), stated.get("kwargs")
    wrappers = [one for one in wrappers if isinstance(one, dict)] if isinstance(wrappers, list | tuple) else []
    return {
        "id": str(stated.get("id", "")),
        "kwargs": kwargs if isinstance(kwargs, dict) else {},
        "additional_wrappers": wrappers,
    }


def _name(wrapper: dict[str, Any]) -> str:
    return str(wrapper.get("name", "?"))[:60]


def _text(value: Any) -> str:
    return json.dumps(value or {}, sort_keys=True, default=str)
