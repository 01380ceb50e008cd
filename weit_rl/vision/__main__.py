"""Run ``python -m weit_rl.vision``; ``mode=MODE --help`` lists the options of a mode."""

from weit_rl.options.command import command
from weit_rl.vision import main

if __name__ == "__main__":
    command("vision", main)
