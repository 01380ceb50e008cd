"""A count of failed episodes while an agent of Stable-Baselines3 is trained."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback

from weit_rl.envs.crashes import check_failure_rate

FEW = 10  # episodes before an environment is judged


class CrashWatch(BaseCallback):
    """A callback that stops a training in which the simulation fails in most episodes, since that would be learned.

    Args:
        name: of the environment.

    Attributes:
        episodes: number of episodes that have ended.
        failed: number of these in which the simulation failed.

    Raises:
        UserError: from the tenth episode on, if most have failed.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name, self.episodes, self.failed = name, 0, 0

    def _on_step(self) -> bool:
        self.episodes += int(sum(self.locals["dones"]))
        self.failed += sum("crashed" in info for info in self.locals["infos"])
        if self.episodes >= FEW:
            check_failure_rate(self.name, self.failed, self.episodes)
        return True
