"""Killed commands resume and end as if nobody had killed them; tests/stress/kills.py kills more often."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_killed_and_resumed_command_ends_as_an_undisturbed_one(tmp_path):
    words = [sys.executable, str(ROOT / "tests" / "stress" / "kills.py"), "--kills", "5", "--only", "pretrain", "train"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if "moments |" in line
    ]
    assert [(row[0], row[2], row[-1]) for row in rows] == [("pretrain", "2", "0"), ("train", "3", "0")]
