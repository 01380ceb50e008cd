"""Files of a behaviour policy: snapshots, and the state from which a stopped training continues.

A snapshot holds the policy's tensors only, with a checksum, so reading one runs no code (an SB3 zip holds pickles). The
newest state of optimisers and replay buffer is stored beside them, so that a stopped training can continue.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weit_rl.common.errors import UserError
from weit_rl.storage.tensor_file import Card, newest_whole_file, read_tensors, write_tensors
from weit_rl.training.checkpoint import fill_optimizer, flatten_optimizer

SNAPSHOT, TRAINING = "weit_rl snapshot 1", "weit_rl behaviour training 1"


def save_snapshot(agent: Any, path: Path) -> None:
    """Write the policy's tensors and its number of environment steps (atomically, with a checksum)."""
    write_tensors(path, agent.policy.state_dict(), {"format": SNAPSHOT, "steps": agent.num_timesteps})


def load_snapshot(agent: Any, path: Path) -> Any:
    """Load a snapshot into an agent made by :func:`make_behaviour`; raise UserError if it is damaged."""
    with _reading(path, SNAPSHOT) as (tensors, _):
        agent.policy.load_state_dict(tensors)
    return agent


def save_training_state(agent: Any, path: Path) -> None:
    """Write networks, optimisers, replay buffer and counters, and keep the state before this one."""
    tensors: dict[str, torch.Tensor] = {f"policy.{k}": v for k, v in agent.policy.state_dict().items()}
    for name, optimizer in _optimizers(agent).items():
        tensors |= flatten_optimizer(optimizer, name)
    if _entropy(agent) is not None:
        tensors["log_ent_coef"] = agent.log_ent_coef
    counters: Card = {"step": agent.num_timesteps, "updates": agent._n_updates}
    if agent.get_vec_normalize_env() is not None:
        rewards = agent.get_vec_normalize_env().ret_rms
        counters["rewards"] = {name: float(getattr(rewards, name)) for name in _REWARDS}
    buffer = _replay(agent)
    if buffer is not None:
        filled = buffer.buffer_size if buffer.full else buffer.pos
        tensors |= {f"buffer.{name}": torch.from_numpy(getattr(buffer, name)[:filled]) for name in _BUFFER}
        counters |= {"pos": buffer.pos, "full": buffer.full}
    write_tensors(path, tensors, {"format": TRAINING, **counters}, keep=True)


def load_training_state(agent: Any, path: Path) -> bool:
    """Load the newest complete state of :func:`save_training_state`; return False if there is none.

    States of simulators and generators are not stored: random numbers continue with another seed.

    Raises:
        UserError: if all stored states are damaged.
    """
    with _explained(path):
        place = newest_whole_file(path)
    if place is None:
        return False
    if place != path:
        place.replace(path)
    with _reading(path, TRAINING) as (tensors, card):
        agent.policy.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("policy.")})
        if _entropy(agent) is not None:
            agent.log_ent_coef.data.copy_(tensors["log_ent_coef"])
        for name, optimizer in _optimizers(agent).items():
            fill_optimizer(optimizer, tensors, name)
        buffer = _replay(agent)
        if buffer is not None:
            for name in _BUFFER:
                stored = tensors[f"buffer.{name}"].numpy()
                getattr(buffer, name)[: len(stored)] = stored
            buffer.pos, buffer.full = card["pos"], card["full"]
        for name, value in card.get("rewards", {}).items():
            setattr(agent.get_vec_normalize_env().ret_rms, name, np.float64(value))
        agent.num_timesteps, agent._n_updates = card["step"], card["updates"]
    agent.set_random_seed(((agent.seed or 0) + agent.num_timesteps) % 2**32)
    return True


_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
_REWARDS = ("mean", "var", "count")  # statistics that scale the rewards of PPO


def _optimizers(agent: Any) -> dict[str, torch.optim.Optimizer]:
    if _replay(agent) is None:
        return {"policy_opt": agent.policy.optimizer}
    named = {"actor_opt": agent.actor.optimizer, "critic_opt": agent.critic.optimizer}
    entropy = getattr(agent, "ent_coef_optimizer", None)
    return named | ({"ent_opt": entropy} if entropy else {})


def _replay(agent: Any) -> Any:
    """Return the replay buffer; None for an algorithm that learns from rollouts only."""
    return getattr(agent, "replay_buffer", None)


def _entropy(agent: Any) -> Any:
    """Return the learned entropy coefficient; None if it is a constant, or there is none."""
    return getattr(agent, "log_ent_coef", None)


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[tuple[dict[str, torch.Tensor], Card]]:
    """Yield the tensors and the card of a file; turn errors into one line."""
    with _explained(path):
        tensors, card = read_tensors(path)
        if card.get("format") != kind:
            raise UserError(f"{path}: holds no {kind} (format {card.get('format')!r}); restore it")
        yield tensors, card


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    anew = "or start anew in another run_dir"
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}, {anew}") from error
    except (RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"{path}: was made with other hyperparameters; restore it, {anew}") from error
