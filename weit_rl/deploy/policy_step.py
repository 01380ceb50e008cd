"""A policy as it is exported: one step of acting.

Normaliser, reward scale, the window of earlier steps and the scaling of actions are inside. Zeros begin an episode, and
whoever acts only counts the return down by what was earned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.deploy.registry import ANY, GRAPHS, Graph, facts
from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.registry import env_entry


class PolicyStep(nn.Module):
    """One step of acting.

    Args:
        net: a plain policy.
        box: the bounds of the environment's own actions.
    """

    low: Tensor
    high: Tensor

    def __init__(self, net: Any, box: ActionBox):
        super().__init__()
        self.net = net
        self.register_buffer("low", torch.from_numpy(box.low))
        self.register_buffer("high", torch.from_numpy(box.high))

    def forward(
        self,
        observation: Tensor,
        return_to_go: Tensor | None = None,
        time: Tensor | None = None,
        past_observations: Tensor | None = None,
        past_actions: Tensor | None = None,
        past_returns_to_go: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The action, and what the next call takes. Of the inputs a policy has those in :func:`beginning`.

        Args:
            observation: ``(B, obs)``, raw units, or pictures; of states and pictures flat, as the environment gives it.
            return_to_go: ``(B,)``, the return still to be earned, raw reward units.
            time: ``(B,)`` int64, steps of the episode that are done.
            past_observations: ``(B, context - 1, obs)``, the oldest first, padded on the right as in training.
            past_actions: ``(B, context - 1, act)`` in [-1, 1].
            past_returns_to_go: ``(B, context - 1)``.

        Returns:
            ``action`` ``(B, act)`` in the environment's own units, and ``next_X`` for every X of the memory.

        Raises:
            UserError: for a memory of other rows or of another policy.
        """
        rows, context = observation.shape[0], self.net.context
        past = {"observations": past_observations, "actions": past_actions, "returns_to_go": past_returns_to_go}
        each = {"observations": observation.shape[1:], "actions": (self.net.action_dim,), "returns_to_go": ()}
        _check_shape("return_to_go", return_to_go, (rows,))
        _check_shape("time", time, (rows,))
        for name, given in past.items():
            _check_shape(f"past_{name}", given, (rows, context - 1, *each[name]))
        slots = torch.arange(context, device=observation.device)
        done = self.low.new_zeros(rows, dtype=torch.int64) if time is None else time
        newest = done.clamp_max(context - 1)
        here = slots == newest[:, None]  # (B, context), where in the window the newest step lies
        returns = self.low.new_zeros(rows) if return_to_go is None else return_to_go
        blank = self.low.new_zeros(rows, self.net.action_dim)  # no step looks at its own action
        window = {
            "observations": _placed(past_observations, observation, here),
            "actions": _placed(past_actions, blank, here),
            "returns_to_go": _placed(past_returns_to_go, returns, here),
        }
        action = (self.net(*window.values(), (done - newest)[:, None] + slots) * here[..., None]).sum(1)
        window["actions"] = _placed(past_actions, action, here)
        later = {f"next_past_{name}": _kept(window[name], newest) for name in past if past[name] is not None}
        return {"action": self._own(action), **later, **({} if time is None else {"next_time": time + 1})}

    def _own(self, action: Tensor) -> Tensor:
        """From [-1, 1] into the bounds, which rounding must not leave."""
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        return (middle + half * action).clamp(self.low, self.high)


def policy_graph(net: Any, card: Mapping[str, Any], batch: int | None = None) -> Graph:
    """A policy's step, to export.

    Args:
        net: the plain policy; its buffers hold normaliser and target return.
        card: of its checkpoint.
        batch: environments acted in at once; None (default) for any number.
    """
    entry, seen = env_entry(card["env"]), card["options"]["observation_dim"]
    box, shape = entry.action_box, [seen] if isinstance(seen, int) else list(seen)
    if len(shape) == 4:  # numbers in a state, and the shape of the pictures that lie behind it, flat
        shape = [shape[0] + math.prod(shape[1:])]
    told = {
        **facts("policy", net, card, batch),
        "env": entry.name,
        "env_id": entry.gym_id,
        "context": net.context,
        "episode_steps": net.max_steps,
        "target_return": float(net.target_return),
        "action_low": box.low.tolist(),
        "action_high": box.high.tolist(),
    }
    inputs = beginning(net, shape, batch or ANY)
    return Graph(PolicyStep(net, box), inputs, lambda seed: drawn(net, shape, batch or ANY, seed), batch, told)


def beginning(net: Any, shape: Sequence[int], batch: int) -> dict[str, Tensor]:
    """Make the inputs at the beginning of an episode: zeros, and the return asked for.

    Besides the observation a policy has the inputs that it names (``acting_inputs``).

    Args:
        net: the policy.
        shape: of one observation.
        batch: rows.
    """
    seen = torch.float32 if len(shape) == 1 else torch.uint8
    past = (batch, net.context - 1)
    begins = {
        "return_to_go": lambda: net.target_return.detach().cpu().repeat(batch),
        "time": lambda: torch.zeros(batch, dtype=torch.int64),
        "past_observations": lambda: torch.zeros(*past, *shape, dtype=seen),
        "past_actions": lambda: torch.zeros(*past, net.action_dim),
        "past_returns_to_go": lambda: torch.zeros(past),
    }
    return {"observation": torch.zeros(batch, *shape, dtype=seen)} | {
        name: begins[name]() for name in net.acting_inputs
    }


def drawn(net: Any, shape: Sequence[int], batch: int, seed: int) -> dict[str, Tensor]:
    """Random observations, spread as the normaliser says, and random pictures."""
    generator = torch.Generator().manual_seed(seed)
    if len(shape) > 1:
        return {"observation": torch.randint(0, 256, (batch, *shape), generator=generator, dtype=torch.uint8)}
    mean, std = net.observation_mean.cpu(), net.observation_std.cpu()
    states = mean + std * torch.randn(batch, len(mean), generator=generator)
    pictures = torch.randint(0, 256, (batch, shape[0] - len(mean)), generator=generator)
    return {"observation": torch.cat([states, pictures.to(states)], dim=1)}


def _check_shape(name: str, given: Tensor | None, shape: tuple[int, ...]) -> None:
    """UserError for a memory that would be broadcast, and so be another row's."""
    if given is not None and given.shape != shape:
        raise UserError(f"{name}: of shape {tuple(given.shape)}, beside these observations {tuple(shape)} is needed")


def _placed(past: Tensor | None, new: Tensor, here: Tensor) -> Tensor:
    """The window ``(B, context, ...)``: the past, and the newest where it belongs; ``(B, 1, ...)`` without a past."""
    if past is None:
        return new[:, None]
    return torch.where(_like(here, past), new[:, None], torch.cat([past, new[:, None]], dim=1))


def _kept(window: Tensor, newest: Tensor) -> Tensor:
    """``(B, context - 1, ...)``, what the next step sees of a window: a full one forgets its oldest step."""
    full = newest == window.shape[1] - 1
    return torch.where(_like(full, window), window[:, 1:], window[:, :-1])


def _like(rows: Tensor, window: Tensor) -> Tensor:
    return rows.reshape(*rows.shape, *(1,) * (window.ndim - rows.ndim))


GRAPHS.add("control", policy_graph)
