"""Keep everything that a run writes in one folder.

``config.yaml environment.json metrics.csv tensorboard/ checkpoints/*.safetensors evaluation.json learning_curve.png``
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.options.option_fields import Options
from weit_rl.options.option_table import as_config, check_values, plain_config
from weit_rl.storage.atomic_write import cannot_write_error, check_space, write_atomically
from weit_rl.storage.folder_lock import holds_only_leftovers, lock_folder
from weit_rl.training.learning_curve import draw_learning_curve
from weit_rl.training.machine import describe_environment
from weit_rl.training.metrics import MetricsLog
from weit_rl.training.process_group import SINGLE_PROCESS, ProcessGroup

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from omegaconf import DictConfig

CONFIG, ENVIRONMENT = "config.yaml", "environment.json"
MOST_CONFIG = 1_000_000  # bytes


class RunFolder:
    """The folder of one run; use :meth:`create` or :meth:`open`.

    Attributes:
        path: the folder.
        config: the run's composed config.
        devices: the processes that train together in it.
    """

    devices: ProcessGroup = SINGLE_PROCESS

    def __init__(self, path: Path, resume_step: int | None = None, lock: BaseFileLock | None = None):
        self.path, self._lock = path, lock
        self.config: DictConfig = as_config(_read_config(path / CONFIG))
        self._metrics = MetricsLog(path, resume_step)

    @classmethod
    def create(
        cls, path: str | Path | None, verb: str, cfg: Options | DictConfig, seed: int, free_bytes: int = 200_000_000
    ) -> RunFolder:
        """Make a new run folder, lock it, and write config.yaml and environment.json.

        Args:
            path: the folder (default None: ``runs/<verb>-<env>-<size>-<init>-s<seed>-<timestamp>``).
            verb: name of the command, such as "train".
            cfg: the composed config.
            seed: the run's seed.
            free_bytes: free disk space that the run needs, in bytes (default 200 MB).

        Raises:
            UserError: if the folder is not empty or cannot be made, or the disk has too little space.
        """
        folder = expand_home(path) if path else default_folder(verb, cfg, seed)
        _check(folder, free_bytes)
        try:
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write_error(folder, error) from error
        lock = lock_folder(folder)
        write_atomically(folder / ENVIRONMENT, _json(describe_environment(seed)))
        text = yaml.safe_dump(plain_config(cfg), sort_keys=False, allow_unicode=True)
        write_atomically(folder / CONFIG, text.encode())  # last: a folder without a config holds no run
        return cls(folder, lock=lock)

    @classmethod
    def open(cls, path: str | Path, resume_step: int | None = None, lock: BaseFileLock | None = None) -> RunFolder:
        """Open an existing run folder.

        Args:
            path: the folder.
            resume_step: step of the checkpoint to resume from; later metrics are dropped, since they will be logged
                again (default None: all are kept).
            lock: the folder's lock, which :meth:`close` releases (default None: not locked).

        Raises:
            UserError: if the folder holds no run, or a damaged one.
        """
        folder = expand_home(path)
        for name in (CONFIG, ENVIRONMENT):
            if not (folder / name).is_file():
                raise UserError(f"{path}: is no run folder (it has no {name}); give the path that a run printed")
        try:
            return cls(folder, resume_step, lock)
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: its config.yaml or metrics.csv was damaged; restore it or start anew") from error

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append metrics such as ``{"train/loss": 0.03}`` to metrics.csv and TensorBoard."""
        self._metrics.log(step, values)

    def log_image(self, step: int, name: str, picture: bytes) -> None:
        """Show a PNG or GIF in TensorBoard."""
        self._metrics.log_image(step, name, picture)

    def log_hparams(self, results: Mapping[str, Any]) -> None:
        """Show the run's options and final numbers in TensorBoard's HPARAMS tab; None is left out."""
        numbers = {f"hparam/{name}": float(value) for name, value in results.items() if value is not None}
        self._metrics.log_hparams(_flat(plain_config(self.config)), numbers)

    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Return all metrics logged so far: ``{name: [(step, value), ...]}``."""
        return self._metrics.series()

    def last_step(self) -> int:
        """Return the last step with a metric, 0 if there is none."""
        return max((points[-1][0] for points in self.metrics().values()), default=0)

    def write_json(self, name: str, data: Any) -> None:
        """Write a JSON file such as "evaluation.json" atomically; numpy numbers and paths are converted."""
        write_atomically(self.path / name, _json(data))

    def checkpoint_path(self, name: str) -> Path:
        """Return the path of the checkpoint of that name, such as "last" or "best"."""
        return self.path / "checkpoints" / f"{name}.safetensors"

    def existing_checkpoint(self, name: str) -> Path:
        """Return the path of an existing checkpoint; UserError names the existing ones if it is missing."""
        path = self.checkpoint_path(name)
        if not path.is_file():
            names = sorted(p.stem for p in path.parent.glob("*.safetensors"))
            have = ", ".join(
                name for name in names if not name.endswith("_state")
            )  # training states hold no plain network
            if not have:
                raise UserError(
                    f"{self.path}: holds no network, only runs of weit_rl.train do, once their network is initialised"
                )
            raise UserError(f"checkpoint={name}: {self.path} has none of that name (it has {have})")
        return path

    def plot_learning_curve(
        self, stages: Mapping[str, int] | None = None, behaviour_return: float | None = None
    ) -> Path:
        """Draw learning_curve.png from the metrics: ``*/loss`` above, ``*/return`` or ``*/return_mean`` below.

        Args:
            stages: the step at which each stage starts, such as ``{"scaler": 0, "train": 300}`` (default: none).
            behaviour_return: mean return of the data, drawn as a dashed line (default: none).
        """
        path = self.path / "learning_curve.png"
        write_atomically(path, draw_learning_curve(self.metrics(), stages or {}, behaviour_return))
        return path

    def close(self) -> None:
        """Close TensorBoard's file and release the folder's lock."""
        try:
            self._metrics.close()
        finally:
            if self._lock:
                self._lock.release()


def checked_config(config: DictConfig, verb: str, path: str | Path, whole: bool = False) -> DictConfig:
    """Check the types of a stored config's values.

    Args:
        config: the config of a run.
        verb: the command whose options they are.
        path: the run's folder, for the error line.
        whole: if every option must be there (default False).

    Returns:
        The same config.

    Raises:
        UserError: for a value of another type.
    """
    try:
        check_values(plain_config(config), verb, whole)
    except UserError as error:
        raise UserError(f"{path}: its config.yaml was damaged, {error}; restore it or start anew") from error
    return config


class _PlainLoader(yaml.SafeLoader):
    """A YAML loader without aliases, which could expand a small file without limit."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def _read_config(path: Path) -> dict[str, Any]:
    """Read a config.yaml; ValueError or YAMLError if it is no mapping of options."""
    if path.stat().st_size > MOST_CONFIG:
        raise ValueError(f"more than {MOST_CONFIG} bytes")
    config = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise ValueError("no mapping of options")
    return config


def _check(folder: Path, free_bytes: int) -> None:
    if folder.exists() and not (folder.is_dir() and _is_new(folder)):
        raise UserError(f"run_dir={folder}: exists already; choose another run_dir, or go on with resume={folder}")
    check_space(folder, free_bytes)


def _is_new(folder: Path) -> bool:
    """Return True for an empty folder, or one of a process that was killed before it wrote the config."""
    return holds_only_leftovers(folder, "checkpoints", ENVIRONMENT) and not any((folder / "checkpoints").glob("*"))


def default_folder(verb: str, cfg: Options | DictConfig, seed: int) -> Path:
    """Choose a folder that does not exist yet: ``runs/<verb>-<env>-<size>-<init>-s<seed>-<timestamp>``."""
    size = cfg.get("size")
    if size is not None and not isinstance(size, str):  # a group with size.name, size.width, size.depth
        size = "x".join(str(number) for number in (size.width, size.depth) if number) or size.name
    parts = [verb, cfg.get("env"), size, cfg.get("init"), f"s{seed}", time.strftime("%Y%m%d-%H%M%S")]
    name = re.sub(r"[^\w.-]+", "_", "-".join(str(part) for part in parts if part))
    folder, number = Path("runs") / name, 1
    while folder.exists():  # another run began in the same second
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def _flat(values: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Flatten options to dotted keys; other values than numbers, text and booleans become text, None is left out."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{group}{name}.")
        elif value is not None:
            flat[group + name] = value if isinstance(value, str | int | float) else str(value)
    return flat


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=2, default=_plain) + "\n").encode()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
