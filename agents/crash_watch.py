"""Counting the episodes that fail while an agent of Stable-Baselines3 learns."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback

from weit_rl.envs.crashes import check_few

FEW = 10  # episodes that are too few to judge an environment by


class CrashWatch(BaseCallback):
    """Stops a training in which the simulation fails in most episodes: it would learn to make it fail.

    Args:
        name: of the environment.

    Attributes:
        episodes: that have ended.
        failed: how many of these ended since the simulation failed.

    Raises:
        UserError: from the tenth episode on, when most have failed.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name, self.episodes, self.failed = name, 0, 0

    def _on_step(self) -> bool:
        self.episodes += int(sum(self.locals["dones"]))
        self.failed += sum("crashed" in info for info in self.locals["infos"])
        if self.episodes >= FEW:
            check_few(self.name, self.failed, self.episodes)
        return True
