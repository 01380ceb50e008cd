"""Make control tasks from a config: environment, body, pixels, data, model."""

from __future__ import annotations

from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.data import load_trajectories
from weit_rl.envs.config_environments import bodies, entries_of, fold_body_and_pixels
from weit_rl.envs.registry import EnvEntry, env_entry
from weit_rl.models import BOTH, MODELS
from weit_rl.models.registry import command_options
from weit_rl.options.choices import check_choices
from weit_rl.options.pretrain_options import PretrainOptions
from weit_rl.options.train_options import TrainOptions
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.tasks.family_control import FamilyControl
from weit_rl.tasks.registry import TASKS, Measure, TaskEntry
from weit_rl.training.device import device_of


def control_task(cfg: TrainOptions | PretrainOptions, tile: int = ControlConfig.tile) -> Control:
    """Make the control task of a config.

    Args:
        cfg: the composed config of a command.
        tile: edge of a template (default 16).

    Raises:
        UserError: for an environment, data, a model or a number that does not fit.
    """
    if not isinstance(cfg.env, str):
        return family_task(cfg, tile)
    model, entry = str(cfg.model), env_entry(cfg.env)
    if MODELS.get(model).sees == BOTH and entry.pixels:
        entry = entry.with_pictures_and_state
    check_kind(model, entry)
    check_choices(cfg)
    task = Control(entry, load_trajectories(cfg.data, entry, weights=cfg.data_weights), config_of(cfg, tile))
    entry.check_step()
    return task


def family_task(cfg: TrainOptions | PretrainOptions, tile: int = ControlConfig.tile) -> FamilyControl:
    """Make the control task of several environments of one family, as :func:`control_task` does of one."""
    check_one_family(cfg.env)
    (several,) = bodies(cfg)
    entries = [env_entry(name) for name in several.env]
    check_kind(str(cfg.model), entries[0])
    check_choices(cfg)
    sets = [load_trajectories(data, entry) for data, entry in zip(several.data, entries, strict=True)]
    task = FamilyControl(entries, sets, config_of(cfg, tile))
    entries[0].check_step()
    return task


def config_of(cfg: TrainOptions | PretrainOptions, tile: int) -> ControlConfig:
    """Return the options of the control task in a config of a command."""
    return ControlConfig(
        model=str(cfg.model),
        tile=tile,
        context=cfg.context,
        model_options=command_options(cfg),
        data_episodes=cfg.get("data_episodes"),
        best_fraction=cfg.get("best_fraction", 1.0),
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        target_return=cfg.get("target_return"),
        device=device_of(cfg),
    )


def check_kind(model: str, entry: EnvEntry) -> None:
    """Raise UserError if the model takes another kind of observations, or if nothing can render them."""
    sees, given = MODELS.get(model).sees, entry.observation_kind
    if sees != given:
        others = ", ".join(name for name in MODELS.names() if MODELS.get(name).sees == given)
        change = "leave pixels out" if entry.pixels else "add pixels=true"
        raise UserError(
            f"model={model}: sees {sees}, and env={entry.name} gives {given}; {change}, or use model={others}"
        )
    entry.check_renderer()


RETURN = Measure(("return_mean", "score", "return_std", "return_median", "failed_episodes"), "return")
SUCCESS = Measure(("score", "return_mean", "return_std", "return_median", "failed_episodes"), "success", logged="score")


def measure_of(env: Any) -> Measure:
    """Return the measure of one or several environments: success in percent where it counts, else the return."""
    return SUCCESS if all(entry.success for entry in entries_of(env)) else RETURN


def name_of(cfg: Any) -> str:
    """Return the name of a config's environment, or of the family of several."""
    check_one_family(cfg.env)
    first, *others = entries_of(cfg.env)
    return first.family if others else first.name


def check_one_family(env: Any) -> None:
    """Raise UserError for several environments that are no tasks of one family."""
    families = {entry.family or entry.name for entry in entries_of(env)}
    if len(families) > 1:
        raise UserError(
            f"env={list(env)}: one network does tasks of one family only, and these are of {len(families)} bodies; "
            "give one environment, or a group such as metaworld/MT10"
        )


TASKS.add(
    "control",
    TaskEntry(
        control_task,
        name_of,
        RETURN,
        "env",
        fold_body_and_pixels,
        bodies,
        measure_of=measure_of,
    ),
)
