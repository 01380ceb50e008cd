"""One row per environment: how to make it and the reference returns its scores are measured against."""

from __future__ import annotations

import functools
import importlib
import math
import os
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry, unknown
from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.camera import check_drawable, renderer
from weit_rl.envs.flat_spaces import check_spaces, flat_box
from weit_rl.envs.pixels import BESIDE, STACK, WORD, frames, split_pixels
from weit_rl.envs.reference_returns import reference
from weit_rl.envs.rendering import load_triton_first
from weit_rl.envs.wrapping import ends_at_crash, flat_float32, seen_in_both, seen_in_pictures, unit_actions

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
        random_return: the return of score 0, mostly that of uniformly random actions; None where there is none.
        expert_return: the return of score 100, mostly that of an expert; None where there is none.
        episode_steps: longest episode, in steps (default 1000).
        source: where the reference returns are from.
        packages: the packages a recording depends on.
        pixels: edge of the pictures it is seen in, pixels; None where it is seen by its state (default).
        with_state: whether its state is seen beside the pictures (default False).
        module: that registers it with Gymnasium, imported before it is made, in other processes too (default: none).
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

    @classmethod
    def of(cls, name: str, gym_id: str, entry_point: str, episode_steps: int, **more: Any) -> EnvEntry:
        """The row of an environment whose reference returns, if any, are in the table of ``reference_returns``."""
        random_return, expert_return, source = reference(name)
        return cls(name, gym_id, entry_point, random_return, expert_return, episode_steps, source, **more)

    def make(self, **kwargs: Any) -> gymnasium.Env:
        """Make the environment with flat float32 observations, stacked pictures, or both, and actions in [-1, 1].

        Episodes end where the simulation fails (see :func:`weit_rl.envs.wrapping.ends_at_crash`).

        Args:
            **kwargs: passed on to Gymnasium, such as ``render_mode="rgb_array"``.

        Raises:
            UserError: if the simulator is not installed, its spaces are none that a policy here can have, or nothing
                can draw the pictures.
        """
        env = self._make_own(**kwargs)
        box = check_spaces(env, self.name)
        view = seen_in_both if self.with_state else seen_in_pictures
        seen = flat_float32(env) if self.with_state or not self.pixels else env
        seen = view(seen, self.name, self.pixels) if self.pixels else seen
        return ends_at_crash(unit_actions(seen, box), self.name)

    @functools.cached_property
    def raw_spaces(self) -> tuple[Any, Box]:
        """Of the environment itself (made once): observations, a box of any shape or a Dict of them, and actions."""
        env: Any = self._make_own()
        check_spaces(env, self.name)
        if self.pixels:
            check_drawable(self.name, env.unwrapped)
        env.close()
        return env.observation_space, env.action_space

    @functools.cached_property
    def own_spaces(self) -> tuple[Box, Box]:
        """Of what data sets store: observations (flat float32, or one frame), actions in own units."""
        observations, actions = self.raw_spaces
        return frames(self.pixels) if self.pixels else flat_box(observations), actions

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of one observation, as data sets store it, and of one action."""
        observations, actions = self.own_spaces
        return observations.shape, actions.shape

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers in one observation and in one action."""
        observation, action = (math.prod(shape) for shape in self.shapes)
        return observation, action

    @property
    def stack(self) -> int:
        """How many stored observations a policy sees as one."""
        return STACK if self.pixels else 1

    @property
    def states(self) -> EnvEntry:
        """The same environment seen by its state; itself, where it is."""
        return env_entry(split_pixels(self.name)[0]) if self.pixels else self

    @property
    def beside_state(self) -> EnvEntry:
        """The same environment in pictures, seen by its state, too."""
        return env_entry(self.name.removesuffix(BESIDE) + BESIDE)

    @property
    def gives(self) -> str:
        """What it is seen by, in the words of ``Model.sees``."""
        return "states and pictures" if self.with_state else "pictures" if self.pixels else "states"

    @property
    def action_box(self) -> ActionBox:
        """The bounds of the environment's own actions, in which data are kept on disk."""
        return ActionBox.of(self.own_spaces[1])

    @property
    def slug(self) -> str:
        """The name as part of a file's name."""
        return re.sub(r"[^\w-]+", "-", self.name)

    @property
    def score_name(self) -> str:
        """What tables call the score: D4RL's only where its reference returns are used."""
        return f"{'D4RL-' if self.source == 'D4RL' else ''}reference-normalised score"

    def score(self, return_: float) -> float | None:
        """Reference-normalised score: 0 for random actions, 100 for the expert; None without both references."""
        if self.random_return is None or self.expert_return is None:
            return None
        return float(100 * (return_ - self.random_return) / (self.expert_return - self.random_return))

    def check_renderer(self) -> None:
        """UserError where pictures are asked for and nothing here can draw them."""
        if self.pixels:
            renderer()

    def check_step(self) -> None:
        """Act once, in the middle of the bounds: an environment that nothing can be trained for shows before it is.

        Raises:
            UserError: where it cannot be made, its first step fails, or its reward or observations are not what its
                spaces promise.
        """
        env = self.states.make()
        try:
            observation, _ = env.reset(seed=0)
            if observation.shape != env.observation_space.shape:
                given, said = observation.shape, env.observation_space.shape
                raise UserError(f"env {self.name}: its observations have shape {given}, its space {said}; correct it")
            env.step(np.zeros(env.action_space.shape or (), np.float32))
        finally:
            env.close()

    def _make_own(self, **kwargs: Any) -> gymnasium.Env:
        if self.pixels or kwargs.get("render_mode") or os.environ.get("MUJOCO_GL") == "osmesa":  # mujoco loads it then
            load_triton_first()
        self.check_renderer()  # before a simulator chooses one, which may not work
        if self.module:
            importlib.import_module(self.module)
        return pkgutil.resolve_name(self.entry_point)(self.gym_id, **kwargs)


ENVS: Registry[EnvEntry] = Registry("environment", "weit_rl.envs", "weit_rl.environments")
# Names that cannot be listed: what stands before the (first) colon of ``gym:ID`` or ``Hopper:limbs=0.75`` -> the entry
# of a whole name.
OPEN: Registry[Callable[[str], EnvEntry]] = Registry("environment family", "weit_rl.envs")


def env_entry(name: str) -> EnvEntry:
    """The entry of that name; raises UserError naming the nearest and all possible ones."""
    env, pixels = split_pixels(name)
    if pixels:
        return _in_pictures(env, pixels, name.endswith(BESIDE))
    names = ENVS.names()
    prefix, colon, _ = name.partition(":")
    if colon and prefix in OPEN.names():
        return OPEN.get(prefix)(name)
    if name not in names:
        families = dict.fromkeys(f"{family}/..." for family, slash, _ in (n.partition("/") for n in names) if slash)
        shown = [*(n for n in names if "/" not in n), *families]
        shown += [f"{prefix}:ID" for prefix in OPEN.names() if prefix not in names]
        raise unknown("environment", name, names, shown)
    return ENVS.get(name)


def entry_of_file(name: Any, where: str, asked: Any = None) -> EnvEntry:
    """The entry of an environment that a file names.

    Args:
        name: what the file says.
        where: the file, for the error.
        asked: what the user names, who may trust a module (default None: nothing).

    Raises:
        UserError: for no name of an environment, and for one whose module would be imported and run, unless the user
            asks for the same.
    """
    if not isinstance(name, str):
        raise UserError(f"{where}: names no environment, but {name!r:.60}")
    if imports_module(name) and name != asked:
        raise UserError(f"{where}: its environment imports a module; if you trust it, say so with env={name}")
    return env_entry(name)


def imports_module(name: str) -> bool:
    """Return whether an environment of that name needs a module to be imported, which runs its code."""
    env, _ = split_pixels(name)
    return env.startswith("gym:") and env.count(":") > 1


@functools.cache
def _in_pictures(env: str, pixels: int, with_state: bool) -> EnvEntry:
    entry = env_entry(env)
    name = f"{entry.name}{WORD}{pixels}{BESIDE if with_state else ''}"
    return replace(entry, name=name, pixels=pixels, with_state=with_state)
