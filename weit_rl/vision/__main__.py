"""``python -m weit_rl.vision``: see configs/vision_*.yaml, one for each mode, for the options."""

from weit_rl.options.command import command
from weit_rl.vision import main

if __name__ == "__main__":
    command("vision", main)
