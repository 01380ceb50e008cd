"""``mode=inspect`` of weit_rl.collect: the numbers of a set, as text and returned."""

import numpy as np
import pytest
from test_npz import arrays, write
from test_readers import HALFCHEETAH

from weit_rl.collect import main
from weit_rl.data import load_trajectories
from weit_rl.options.command import compose
from weit_rl.workflows.inspect_data import BINS, bars, histogram


def inspected(*words):
    return main(compose("collect", ["mode=inspect", *words]))


def test_the_numbers_of_a_set(tmp_path, capsys):
    files = {f"ep{i}": arrays(i) | {"env_id": "HalfCheetah-v5"} for i in range(3)}
    files["ep0"]["actions"][:2] = [[1] * 6, [-1.5] * 6]
    folder = write(tmp_path / "a b=c", files)
    read = load_trajectories(folder, HALFCHEETAH)
    facts = inspected(f"data={folder}")[str(folder)]
    assert (facts["format"], facts["path"], facts["env_id"]) == ("npz", str(folder), "HalfCheetah-v5")
    assert (facts["level"], facts["algorithm"], facts["episodes"], facts["steps"]) == (None, None, 3, 17)
    assert facts["lengths"] == {
        "mean": pytest.approx(17 / 3),
        "std": pytest.approx(2.494438),
        "min": 3,
        "median": 5,
        "max": 9,
    }
    for name in ("mean", "std", "min", "median", "max"):
        assert facts["returns"][name] == pytest.approx(getattr(np, name)(read.returns()))
    assert facts["score"] == pytest.approx(HALFCHEETAH.score(read.returns().mean()))
    assert facts["action_min"] == [-1.5] * 6 and facts["action_max"] == [1] * 6
    assert facts["at_bounds"] == pytest.approx(2 / 17) and facts["outside"] == pytest.approx(1 / 17)
    assert sum(facts["histogram"]["counts"]) == 3 and len(facts["histogram"]["edges"]) == BINS + 1
    out = capsys.readouterr().out
    for text in (
        f"{folder}: 3 episodes, 17 steps",
        "npz",
        "env_id HalfCheetah-v5",
        "11.8% at the bounds, 5.9% outside",
    ):
        assert text in out


def test_all_levels_that_ship(capsys):
    found = inspected()
    assert list(found) == ["expert", "medium", "random"]
    assert found["expert"]["level"] == "expert" and found["random"]["algorithm"] == "random"
    assert found["expert"]["returns"]["mean"] > found["medium"]["returns"]["mean"] > found["random"]["returns"]["mean"]
    assert "D4RL-reference-normalised score" in capsys.readouterr().out


def test_several_sets_each_by_itself(minari_folder):
    assert list(inspected("data=random+medium")) == ["random", "medium"]
    assert inspected(f"data=[random,{minari_folder[0]}]")[str(minari_folder[0])]["episodes"] == 3


def test_the_shared_data_are_inspected(shared):
    path = shared / "control" / "hopper-tqc.hdf5"
    facts = inspected("env=Hopper", f"data={path}")[str(path)]
    assert (facts["format"], facts["episodes"], facts["steps"]) == ("d4rl", 40, 36801)
    assert facts["returns"]["mean"] == pytest.approx(3371, abs=1) and facts["outside"] == 0 and facts["algorithm"]


@pytest.mark.parametrize("low", [-1e6, -1e-4, 0, 9000.0, 1e17])
@pytest.mark.parametrize("width", [0, 1e-13, 1e-6, 0.3, 5e5])
def test_bins_have_distinct_labels(low, width):
    counts, edges = histogram(np.array([low, low + width / 3, low + width]))
    rows = bars(counts.tolist(), edges.tolist())
    assert sum(counts) == 3 and max(row.count("#") for row in rows) == 40
    assert len({row.split(" to ")[0] for row in rows}) == BINS and len({row.index(" to ") for row in rows}) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["env=Humanoid"], "data: none ships for Humanoid; name a set, data=PATH"),
        (["data=expertt"], "data='expertt': neither a file"),
        (["data=expert", "env=Humanoid"], "data='expert'"),
        (["env=Hopper", "data={folder}"], "observation size 17, but Hopper has 11 (it was recorded in HalfCheetah-v5)"),
        (["data=/"], "not a complete Minari data set"),
        (["agent=x.zip"], "agent=x.zip: is for mode=record, and this is mode=inspect"),
    ],
)
def test_bad_words_are_one_line(refused, minari_folder, words, says):
    assert says in refused("collect", "mode=inspect", *(word.format(folder=minari_folder[0]) for word in words))


def test_constant_columns_are_named(tmp_path, capsys):
    files = {f"ep{i}": arrays(i) | {"env_id": "HalfCheetah-v5"} for i in range(3)}
    folder = write(tmp_path / "moving", files)
    assert inspected(f"data={folder}")[str(folder)]["constant_columns"] == []
    assert "never move" not in capsys.readouterr().out
    for number, file in enumerate(files.values()):
        file["observations"][:, [2, 3, 4]] = [7, -1, 0]
        file["observations"][:, 9] = 1e6 + 0.0625 * (number % 2)  # no more than float32 rounds
    folder = write(tmp_path / "still", files)
    assert inspected(f"data={folder}")[str(folder)]["constant_columns"] == [2, 3, 4, 9]
    assert "\n  constant  columns 2-4, 9 of the observations never move\n" in capsys.readouterr().out
