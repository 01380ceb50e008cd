"""Run ``python -m weit_rl.vision``; configs/vision_*.yaml list the options of each mode."""

from weit_rl.options.command import command
from weit_rl.vision import main

if __name__ == "__main__":
    command("vision", main)
