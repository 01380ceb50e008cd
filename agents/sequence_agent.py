"""A trained sequence policy behind Stable-Baselines3's ``predict(observation, state, episode_start)``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, unwrap_vec_normalize
from torch import Tensor

from weit_rl.agents.input_checks import check_memory, numbers, observed, one_each
from weit_rl.agents.outside_normaliser import outside_normaliser
from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.registry import entry_of_file
from weit_rl.training.checkpoint import load_network


class Memory(NamedTuple):
    """The memory of an agent for each of n environments, at most ``context`` steps, the oldest first.

    Attributes:
        observations: ``(n, context, obs)`` float32; pictures ``(n, context, channels, height, width)``.
        actions: ``(n, context, act)`` float32.
        returns_to_go: ``(n, context)`` float32, raw reward units.
        time: ``(n,)`` int64, steps of the episode that are done.
        past: what a policy that acts without windows (``keeps_past``) returned with the last action (default: nothing).
    """

    observations: np.ndarray
    actions: np.ndarray
    returns_to_go: np.ndarray
    time: np.ndarray
    past: tuple[Tensor, ...] = ()


class SequenceAgent:
    """An agent with a plain policy of any model, for functions that take a model, such as ``evaluate_policy``.

    A policy that is conditioned on the return-to-go needs the rewards, which ``predict`` does not get. In environments
    wrapped by :meth:`watch` it knows them. Elsewhere it assumes that the return is earned in equal parts.

    Args:
        net: the policy; its buffers hold normaliser and target return.
        box: bounds of the actions of its environments (default None: -1 and 1); :meth:`watch` sets them.
    """

    def __init__(self, net: Any, box: ActionBox | None = None):
        self.net, self.box = net.eval(), box
        self.rewards: np.ndarray | None = None  # of the last step, if they are known

    @classmethod
    def load(cls, path: str | Path, checkpoint: str = "best", env: str | None = None) -> SequenceAgent:
        """Load the policy of a run's folder, or of a checkpoint file; it acts in its environment's own units.

        Args:
            path: the folder or the file.
            checkpoint: name of a checkpoint in the folder.
            env: the environment, if the file names one whose module would be imported; giving it means that you trust
                it.

        Raises:
            UserError: if there is none, or it is not to be trusted.
        """
        place = expand_home(path)
        file = place / "checkpoints" / f"{checkpoint}.safetensors" if place.is_dir() else place
        net, card = load_network(file)
        return cls(net, entry_of_file(card.get("env"), str(file), env).action_box)

    def watch(self, env: VecEnv) -> VecEnv:
        """Wrap environments so that this agent knows their rewards and the bounds of their actions.

        The rewards are the environments' own, even if a VecNormalize scales them.

        Raises:
            UserError: for environments that normalise observations, as the policy does, or without finite bounds.
        """
        if outside := outside_normaliser(env):
            raise UserError(
                f"{outside}: the policy normalises observations itself; watch the environments without it, such as "
                "VecNormalize(env, norm_obs=False)"
            )
        space: Any = env.action_space
        box = ActionBox.of(space)
        if not box.is_bounded:
            raise UserError(f"action space {space}: the policy acts in [-1, 1], and this has no bounds to scale it to")
        self.box = box
        return _Watched(env, self)

    @torch.no_grad()
    def predict(
        self,
        observation: np.ndarray,
        state: tuple[Any, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Memory]:
        """Return actions, and the state to pass on with the next observation.

        Args:
            observation: ``(n, obs)``, or ``(obs,)`` of a single environment; pictures alike.
            state: returned by the last call, of the same rows (default None: all episodes begin).
            episode_start: ``(n,)`` booleans, True if an episode begins (default: none begins).
            deterministic: ignored, since actions always are.

        Returns:
            ``(n, act)`` float32 within the bounds (or ``(act,)``), and the memory, which holds actions in [-1, 1].

        Raises:
            UserError: for observations of another size or not finite, or a state, rewards or episode starts of other
                rows.
        """
        rows, single = observed(observation, self.net)
        rewards, self.rewards = self.rewards, None  # of this step alone
        if state is None:
            memory = self._empty(rows)
        else:
            check_memory(state, self._empty(rows))
            earned = None if rewards is None else one_each("rewards", numbers("rewards", rewards), len(rows))
            memory = self._later(Memory(*state), earned)
        if episode_start is not None and state is not None:
            self._forget(memory, one_each("episode_start", episode_start, len(rows)).astype(bool))
        newest, everyone = np.minimum(memory.time, self.net.context - 1), np.arange(len(rows))
        memory.observations[everyone, newest] = rows
        actions, past = self._act(memory, newest)
        memory.actions[everyone, newest] = actions
        own = actions if self.box is None else self.box.own(actions)
        return (own[0] if single else own), memory._replace(past=past)

    def _act(self, memory: Memory, newest: np.ndarray) -> tuple[np.ndarray, tuple[Tensor, ...]]:
        """Return actions, and the past that the next step needs; it is empty for a policy that acts on windows."""
        device = self.net.target_return.device
        inputs = [torch.as_tensor(array).to(device) for array in (*memory[:3], self._times(memory))]
        rows, last = torch.arange(len(newest), device=device), torch.as_tensor(newest).to(device)
        if self.net.keeps_past:
            seen, actions, returns, _ = inputs
            time = torch.as_tensor(memory.time).to(rows)
            now = (seen[rows, last], actions[rows, last - 1], returns[rows, last], time)
            acted, past = self.net.step(*now, memory.past or self.net.empty_past(len(rows)))
            return acted.cpu().numpy(), past
        if (newest == newest[0]).all():  # no row is padded
            return self.net.act(*(part[:, : newest[0] + 1] for part in inputs)).cpu().numpy(), ()
        return self.net(*inputs)[rows, last].cpu().numpy(), ()

    def _times(self, memory: Memory) -> np.ndarray:
        """Return the steps of the episode in the window, ``(n, context)``."""
        first = np.maximum(0, memory.time + 1 - self.net.context)
        return first[:, None] + np.arange(self.net.context)

    def _empty(self, rows: np.ndarray) -> Memory:
        count, context = len(rows), self.net.context
        returns = np.full((count, context), float(self.net.target_return), np.float32)
        actions = np.zeros((count, context, self.net.action_dim), np.float32)
        seen = np.zeros((count, context, *rows.shape[1:]), np.float32)
        return Memory(seen, actions, returns, np.zeros(count, int))

    def _later(self, memory: Memory, rewards: np.ndarray | None) -> Memory:
        """Return the memory one step later, with a free place for the newest step; a full one drops its oldest step."""
        full = memory.time >= self.net.context - 1
        windows = (memory.observations, memory.actions, memory.returns_to_go)
        seen, acted, returns = (np.where(_like(full, part), np.roll(part, -1, axis=1), part) for part in windows)
        moved = Memory(seen, acted, returns, memory.time + 1, memory.past)
        rows, last, newest = (
            np.arange(len(full)),
            *(np.minimum(t, self.net.context - 1) for t in (memory.time, moved.time)),
        )
        before = memory.returns_to_go[rows, last]
        earned = float(self.net.target_return) / self.net.max_steps if rewards is None else rewards
        moved.returns_to_go[rows, newest] = before - earned
        return moved

    def _forget(self, memory: Memory, begins: np.ndarray) -> None:
        memory.time[begins] = 0
        memory.returns_to_go[begins] = float(self.net.target_return)


def _like(rows: np.ndarray, array: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, *(1,) * (array.ndim - 1))


class _Watched(VecEnvWrapper):
    def __init__(self, env: VecEnv, agent: SequenceAgent):
        super().__init__(env)
        self.agent, self.scaled = agent, unwrap_vec_normalize(env)

    def reset(self) -> Any:
        self.agent.rewards = None
        return self.venv.reset()

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        self.agent.rewards = rewards if self.scaled is None else self.scaled.get_original_reward()
        return observations, rewards, dones, infos
