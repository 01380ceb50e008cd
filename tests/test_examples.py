"""The examples run as they are."""

import re
import runpy
from pathlib import Path

import pytest
from conftest import TINY

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(monkeypatch, capsys, tmp_path):
    """Run an example as a script in an empty folder; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(name, *words):
        monkeypatch.setattr("sys.argv", [name, *map(str, words)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        assert not list(tmp_path.iterdir())
        return capsys.readouterr().out

    return run


def test_the_example_of_an_own_network_runs(example):
    out = example("own_network.py")
    trained, start, scalers, plain = (float(loss) for loss in re.findall(r"loss (\S+)", out))
    assert trained < 0.02 and scalers < 0.1 < start and plain == scalers


def test_the_example_of_three_sizes_runs(example, tiny_bank, tiny_data):
    out = example("three_sizes.py", *TINY, f"bank={tiny_bank}", f"data={tiny_data}")
    assert re.findall(r"(\d+x\d):", out) == ["64x2", "128x3", "192x4"] and out.count("return after 0 steps") == 3


@pytest.mark.slow
def test_the_shipped_bank_gives_three_sizes(example, full_episodes):
    returns = re.findall(r"0 steps ([-\d,]+)", example("three_sizes.py"))
    assert max(float(text.replace(",", "")) for text in returns) > 1000


def test_the_example_that_reads_a_run_runs(example, tiny_run, full_episodes):
    out = example("read_a_run.py", tiny_run)
    assert "HalfCheetah 96x3" in out and "train/loss: 2 values" in out and "one episode: 1000 steps, return" in out
