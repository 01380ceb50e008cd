"""Training batches: windows drawn from trajectories."""

from __future__ import annotations

import torch

from weit_rl.common.errors import UserError
from weit_rl.data.trajectories import Trajectories


class Windows:
    """A sampler of batches of windows of up to ``context`` steps.

    The last step of a window is drawn uniformly from the data set, or from a set that was drawn by its weight. The
    window reaches back as far as the context and the episode allow. So the first steps of episodes appear with a short
    past, as they do in a roll-out.

    The last step of an episode is then in one window, and other steps are in up to K. That matters where episodes are
    short and end at success: ``even`` windows also reach over the end of the episode, where they are cut, and every
    step is in K of them.

    Args:
        trajectories: the episodes to cut windows from; their arrays are copied to tensors once. If each of its sets is
            a task, batches say which as ``task`` (B,) int64.
        context: K, the longest window in steps, at least 1.
        device: of the tensors and the batches (default ``"cpu"``).
        even: whether all steps of a set are in equally many windows (default False).

    Raises:
        UserError: if the context is shorter than 1 step.
    """

    def __init__(
        self, trajectories: Trajectories, context: int, device: torch.device | str = "cpu", even: bool = False
    ):
        if context < 1:
            raise UserError(f"context={context}: must be 1 step or more")
        self.steps, self.context, self.stack = trajectories.steps, context, trajectories.stack
        starts, lengths = torch.from_numpy(trajectories.starts), torch.from_numpy(trajectories.lengths)
        first = torch.repeat_interleave(starts[:-1], lengths)  # (steps,) first step of the episode of each step
        states = {} if trajectories.states is None else {"states": torch.from_numpy(trajectories.states)}
        arrays = states | {
            "observations": torch.from_numpy(trajectories.observations),
            "actions": torch.from_numpy(trajectories.actions),
            "returns_to_go": torch.from_numpy(trajectories.returns_to_go()),
            "timesteps": torch.arange(self.steps) - first,
        }
        # Padding points at a last row of zeros, so that padded batches need no second pass.
        self._tables = {k: torch.cat([v, torch.zeros_like(v[:1])]).to(device) for k, v in arrays.items()}
        self._first = torch.cat([first, torch.tensor([self.steps])]).to(device)
        self._offsets = torch.arange(context, device=device)
        tasks = torch.repeat_interleave(torch.from_numpy(trajectories.origin), lengths)
        self._tasks = tasks.to(device) if trajectories.by_task else None
        shares = trajectories.shares()
        self._over = context - 1 if even else 0  # steps that a window may reach over the end
        if even:
            longer = (trajectories.lengths + self._over) / trajectories.lengths
            shares = (trajectories.lengths if shares is None else shares) * longer
        self._episodes = None if shares is None else (torch.from_numpy(shares), starts, lengths)

    def sample(self, batch_size: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Draw a batch of windows, real steps first, padding after them.

        Args:
            batch_size: B, number of windows.
            generator: source of the random numbers, on any device.

        Returns:
            ``observations`` (B, K, obs) and ``actions`` (B, K, act) float32, ``returns_to_go`` (B, K) float32 in raw
                units, ``timesteps`` (B, K) int64 step inside the episode, ``mask`` (B, K) bool, True on real steps.
                Padding is zero everywhere. Pictures are (B, K, stack * 3, height, width) uint8; after states they are
                flat, and all is float32.
        """
        if self._episodes is None:
            return self.gather(torch.randint(self.steps, (batch_size,), generator=generator, device=generator.device))
        shares, starts, lengths = (tensor.to(generator.device) for tensor in self._episodes)
        episodes = torch.multinomial(shares, batch_size, replacement=True, generator=generator)
        places = torch.rand(batch_size, generator=generator, device=generator.device, dtype=torch.float64)
        ends = (places * (lengths[episodes] + self._over)).long()
        return self._between(starts[episodes], ends, torch.minimum(ends, lengths[episodes] - 1))

    def gather(self, last: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the windows that end at these steps ``(B,)`` of the data set, in the form of :meth:`sample`."""
        last = last.to(self._first.device)
        first = self._first[last]
        return self._between(first, last - first, last - first)

    def _between(self, first: torch.Tensor, end: torch.Tensor, last: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the windows up to the places ``end`` of episodes that begin at ``first``, cut behind ``last``."""
        first, end, last = (tensor.to(self._first.device) for tensor in (first, end, last))
        begin, last = first + (end - self.context + 1).clamp(min=0), first + last
        index = begin[:, None] + self._offsets  # (B, K)
        mask = index <= last[:, None]
        index = torch.where(mask, index, self.steps)
        batch = {name: table[index] for name, table in self._tables.items() if name not in ("observations", "states")}
        task = {} if self._tasks is None else {"task": self._tasks[last]}
        return batch | {"observations": self._seen(index), "mask": mask} | task

    def _seen(self, index: torch.Tensor) -> torch.Tensor:
        """Return the observations of steps ``(B, K)``; the first frame of an episode also stands for earlier frames."""
        if self.stack == 1:
            return self._tables["observations"][index]
        back = torch.arange(1 - self.stack, 1, device=index.device)
        frames = torch.maximum(index[..., None] + back, self._first[index][..., None])
        pictures = self._tables["observations"][frames].flatten(2, 3)
        if "states" not in self._tables:
            return pictures
        return torch.cat([self._tables["states"][index], pictures.flatten(2).float()], dim=2)
