"""Settings in the zip of a Stable-Baselines3 agent, read without loading anything that could run code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from weit_rl.common.errors import UserError
from weit_rl.envs.registry import EnvEntry

Settings = Mapping[str, Any]  # the zip's JSON; pickles in it stay text


class Algorithm(NamedTuple):
    """The package of an algorithm, and two ways to recognise its zips: the module of its policies, and a mark."""

    package: str
    policies: str
    mark: Callable[[Settings], bool]


def _is_ddpg(settings: Settings) -> bool:
    """Return True for DDPG, which is TD3 without its two tricks."""
    return settings.get("target_noise_clip") == 0 and settings.get("policy_delay") == 1


PACKAGES = ("stable_baselines3", "sb3_contrib", "weit_rl")
QUANTILES = "top_quantiles_to_drop_per_net"  # only TQC has this; otherwise its settings are SAC's
WEIT_POLICIES = "weit_rl.agents.sb3_policies"  # module of WeiTPolicy, for all algorithms
ALGORITHMS = {
    "SAC": Algorithm(
        "stable_baselines3", "stable_baselines3.sac.policies", lambda s: "target_entropy" in s and QUANTILES not in s
    ),
    "TQC": Algorithm("sb3_contrib", "sb3_contrib.tqc.policies", lambda s: QUANTILES in s),
    "TD3": Algorithm(
        "stable_baselines3", "stable_baselines3.td3.policies", lambda s: "policy_delay" in s and not _is_ddpg(s)
    ),
    "DDPG": Algorithm("stable_baselines3", "stable_baselines3.td3.policies", _is_ddpg),
    "PPO": Algorithm("stable_baselines3", "stable_baselines3.common.policies", lambda s: "clip_range" in s),
    "A2C": Algorithm(  # TRPO has the same policies, and cg_damping
        "stable_baselines3",
        "stable_baselines3.common.policies",
        lambda s: "gae_lambda" in s and not {"clip_range", "cg_damping"} & set(s),
    ),
}
MOST_SETTINGS = 64 * 2**20  # bytes
SPACES = ("observation_space", "action_space")


def zip_at(path: Path) -> Path:
    """Return the file that ``agent.save(path)`` wrote: Stable-Baselines3 adds ``.zip`` to a name without a suffix."""
    zipped = Path(f"{path}.zip")
    return zipped if not path.is_file() and zipped.is_file() else path


def read_settings(path: Path) -> Settings:
    """Read the JSON in the zip of an agent; nothing is unpickled.

    Raises:
        UserError: if there is no such file, or it is no such zip.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if file.getinfo("data").file_size > MOST_SETTINGS:
                raise ValueError(f"settings of more than {MOST_SETTINGS} bytes")
            settings = json.loads(file.read("data"))
            named = {name: settings[name] for name in (*SPACES, "policy_class")}
            file.getinfo("policy.pth")
        return settings | {name: dict(value) for name, value in named.items()}
    except OSError as error:
        raise UserError(f"agent={path}: cannot read ({error.strerror}); give the .zip of an agent") from error
    except Exception as error:  # no zip, cut short, another kind of zip, other JSON
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"agent={path}: not a whole Stable-Baselines3 agent ({reason}); give a file that its save() wrote"
        ) from error


def algorithm_of(settings: Settings, path: Path, asked: str | None) -> str:
    """Return the algorithm that saved an agent.

    Args:
        settings: of its zip.
        path: for error messages.
        asked: the algorithm that the user named; None trusts the file.

    Raises:
        UserError: if the file contradicts the user, or names none while the user named none.
    """
    if asked is not None and asked not in ALGORITHMS:
        raise UserError(f"algorithm={asked}: unknown, choose one of {', '.join(ALGORITHMS)}, or none: the file says it")
    module = str(settings["policy_class"].get("__module__"))
    says = [name for name, one in ALGORITHMS.items() if module in (one.policies, WEIT_POLICIES) and one.mark(settings)]
    if not says and (asked is None or module.split(".")[0] in PACKAGES):
        raise UserError(
            f"agent={path}: its policy ({module}) is of none of {', '.join(ALGORITHMS)}; use an agent of these"
            + ("" if module.split(".")[0] in PACKAGES else ", or if it is one, say which, algorithm=SAC")
        )
    if says and asked is not None and asked != says[0]:
        raise UserError(f"agent={path}: was saved by {says[0]}, not {asked}; leave algorithm out or correct it")
    return asked or says[0]


def check_sizes(settings: Settings, path: Path, entry: EnvEntry) -> None:
    """Raise UserError if the zip shows that observations or actions differ in size from the environment's."""
    for name, size in zip(SPACES, entry.sizes, strict=True):
        shape = settings[name].get("_shape", settings[name].get("shape"))
        if shape != [size]:
            what = name.removesuffix("_space")
            raise UserError(
                f"agent={path}: its {what} has shape {shape}, but {entry.name} has {[size]}; use an agent for it"
            )
