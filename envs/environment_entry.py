"""The entry of an environment: how it is made, its spaces, and the reference returns of its scores."""

from __future__ import annotations

import functools
import importlib
import math
import os
import pkgutil
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.camera import check_drawable, renderer
from weit_rl.envs.flat_spaces import check_spaces, flat_box
from weit_rl.envs.pixels import BESIDE, EDGE, STACK, WORD, frames
from weit_rl.envs.reference_returns import reference
from weit_rl.envs.rendering import load_triton_first
from weit_rl.envs.wrapping import (
    ends_at_crash,
    flatten_observations,
    rescale_actions,
    show_pictures,
    show_pictures_and_state,
)

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.spaces import Box


@dataclass(frozen=True)
class EnvEntry:
    """An environment: a name for users, how to make it, and its reference returns.

    Attributes:
        name: what users write in ``env=NAME``.
        gym_id: Gymnasium's id, with the version if it has one.
        entry_point: ``"module:function"``, called as ``function(gym_id, **kwargs)`` and imported only then.
        random_return: return of score 0, mostly that of uniformly random actions; None if there is none.
        expert_return: return of score 100, mostly that of an expert; None if there is none.
        episode_steps: longest episode, in steps (default 1000).
        source: of the reference returns.
        packages: the packages that a recording depends on.
        pixels: edge of the pictures that it shows, pixels; None if it shows its state (default).
        with_state: True if it shows its state and pictures (default False).
        module: registers it with Gymnasium; imported before it is made, in other processes too (default: none).
        success: True if steps report ``info["success"]`` and the score is the share of episodes with a success,
            in percent (default False).
        expert: ``"module:function"`` of a scripted expert; ``function(gym_id)`` returns a function from one
            observation to an action in [-1, 1], for one episode (default: none).
        family: name of a family of tasks of one body, which share all of a network but a task's code (default: none).
        seen_by_state: the entry of the same environment without pictures; None if there are none (default).
    """

    name: str
    gym_id: str
    entry_point: str
    random_return: float | None = None
    expert_return: float | None = None
    episode_steps: int = 1000
    source: str = ""
    packages: tuple[str, ...] = ("gymnasium", "mujoco")
    pixels: int | None = None
    with_state: bool = False
    module: str = ""
    success: bool = False
    expert: str = ""
    family: str = ""
    seen_by_state: EnvEntry | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, name: str, gym_id: str, entry_point: str, episode_steps: int, **more: Any) -> EnvEntry:
        """Make the entry of an environment, with its reference returns from the table of ``reference_returns``."""
        random_return, expert_return, source = reference(name)
        return cls(name, gym_id, entry_point, random_return, expert_return, episode_steps, source, **more)

    def make(self, **kwargs: Any) -> gymnasium.Env:
        """Make the environment with flat float32 observations, stacked pictures, or both, and actions in [-1, 1].

        Episodes end when the simulation fails (see :func:`weit_rl.envs.wrapping.ends_at_crash`).

        Args:
            **kwargs: passed on to Gymnasium, such as ``render_mode="rgb_array"``.

        Raises:
            UserError: if the simulator is not installed, its spaces do not fit policies here, or no renderer draws
                pictures.
        """
        env = self._make_raw(**kwargs)
        box = check_spaces(env, self.name)
        view = show_pictures_and_state if self.with_state else show_pictures
        seen = flatten_observations(env) if self.with_state or not self.pixels else env
        seen = view(seen, self.name, self.pixels) if self.pixels else seen
        return ends_at_crash(rescale_actions(seen, box), self.name)

    @functools.cached_property
    def raw_spaces(self) -> tuple[Any, Box]:
        """Return the spaces of the environment itself, made once: a Box or a Dict of observations, and actions."""
        env: Any = self._make_raw()
        check_spaces(env, self.name)
        if self.pixels:
            check_drawable(self.name, env.unwrapped)
        env.close()
        return env.observation_space, env.action_space

    @functools.cached_property
    def own_spaces(self) -> tuple[Box, Box]:
        """Return the spaces of stored data: observations, flat float32 or one frame, and actions in own units."""
        observations, actions = self.raw_spaces
        return frames(self.pixels) if self.pixels else flat_box(observations), actions

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of one stored observation and of one action."""
        observations, actions = self.own_spaces
        return observations.shape, actions.shape

    @property
    def sizes(self) -> tuple[int, int]:
        """Return the number of values in one observation and in one action."""
        observation, action = (math.prod(shape) for shape in self.shapes)
        return observation, action

    @property
    def stack(self) -> int:
        """Return the number of stored observations that a policy sees as one."""
        return STACK if self.pixels else 1

    @property
    def states(self) -> EnvEntry:
        """Return the entry of the same environment seen by its state."""
        return self.seen_by_state or self

    @property
    def with_pictures_and_state(self) -> EnvEntry:
        """Return the entry of the same environment in pictures together with its state."""
        return in_pictures(self.states, self.pixels or EDGE, True)

    @property
    def observation_kind(self) -> str:
        """Return the kind of its observations, in the words of ``Model.sees``."""
        return "states and pictures" if self.with_state else "pictures" if self.pixels else "states"

    @property
    def action_box(self) -> ActionBox:
        """Return the bounds of the environment's own actions, the units of data on disk."""
        return ActionBox.of(self.own_spaces[1])

    @property
    def slug(self) -> str:
        """Return the name as part of a file's name."""
        return re.sub(r"[^\w-]+", "-", self.name)

    @property
    def score_name(self) -> str:
        """Return the name of the score in tables; it says D4RL only if D4RL's reference returns are used."""
        if self.success:
            return "success %"
        return f"{'D4RL-' if self.source == 'D4RL' else ''}reference-normalised score"

    def score(self, return_: float, success_rate: float | None = None) -> float | None:
        """Return the score of some episodes; None if it is not defined.

        It is reference-normalised, 0 for random actions and 100 for the expert, unless success counts.

        Args:
            return_: mean return.
            success_rate: share of the episodes with a success, 0 to 1; None if it is not known (default).
        """
        if self.success:
            return None if success_rate is None else round(100 * float(success_rate), 9)
        if self.random_return is None or self.expert_return is None:
            return None
        return float(100 * (return_ - self.random_return) / (self.expert_return - self.random_return))

    def check_renderer(self) -> None:
        """Raise UserError if the environment shows pictures and no renderer works here."""
        if self.pixels:
            renderer()

    def check_step(self) -> None:
        """Act once, in the middle of the bounds, to find an unusable environment before training.

        Raises:
            UserError: if it cannot be made, its first step fails, or its reward or observations do not fit its spaces.
        """
        env = self.states.make()
        try:
            observation, _ = env.reset(seed=0)
            if observation.shape != env.observation_space.shape:
                given, declared = observation.shape, env.observation_space.shape
                raise UserError(
                    f"env {self.name}: its observations have shape {given}, its space {declared}; correct it"
                )
            env.step(np.zeros(env.action_space.shape or (), np.float32))
        finally:
            env.close()

    def _make_raw(self, **kwargs: Any) -> gymnasium.Env:
        if self.pixels or kwargs.get("render_mode") or os.environ.get("MUJOCO_GL") == "osmesa":  # MuJoCo loads Mesa
            load_triton_first()
        self.check_renderer()  # before a simulator chooses one that may not work
        if self.module:
            importlib.import_module(self.module)
        return pkgutil.resolve_name(self.entry_point)(self.gym_id, **kwargs)


@functools.cache
def in_pictures(entry: EnvEntry, edge: int, with_state: bool) -> EnvEntry:
    """Return the entry of an environment in pictures, given the entry of the same environment seen by its state.

    Args:
        entry: of the environment seen by its state.
        edge: of the pictures, pixels.
        with_state: whether its state is seen too.
    """
    name = f"{entry.name}{WORD}{edge}{BESIDE if with_state else ''}"
    return replace(entry, name=name, pixels=edge, with_state=with_state, seen_by_state=entry)
