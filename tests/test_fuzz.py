"""Every reader reads or refuses two hundred spoiled files; tests/stress/fuzz.py reads thousands."""

import sys
from pathlib import Path

import pytest

from weit_rl.data.episode_files import read_episodes

sys.path.append(str(Path(__file__).parent / "stress"))
import fuzz
import samples

# These readers work in processes of their own, which are slow to start.
PLACES = {"D4RL's HDF5": "x.hdf5", "Minari": "set", "Minari, Arrow": "set"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", samples.READERS)
def test_damaged_files_are_read_or_refused(name, tmp_path):
    if name.startswith("timm"):
        pytest.importorskip("timm", reason="pip install 'weit_rl[vision]'")
    if name.endswith("Arrow"):
        pytest.importorskip("pyarrow", reason="pip install 'weit_rl[arrow]'")
    reader, count = fuzz.READERS[name], 17
    if reader.native:
        reader, count = fuzz.Reader(reader.make, lambda folder: read_episodes(folder / PLACES[name])), 5
    found = fuzz.fuzz(reader, count, tmp_path, seed=1)
    assert found.keys() <= {"read", "refused"} and found["refused"], "\n".join(found)
