"""Options from values by name: read as words are, copied whole, and sent to other processes."""

import pickle

import pytest

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.comparison.grid import Grid
from weit_rl.comparison.methods import METHODS
from weit_rl.comparison.sources import Sources
from weit_rl.options.command import compose
from weit_rl.options.option_table import VERBS
from weit_rl.options.option_values import options_with, read_options, usual_options
from weit_rl.workflows.export_size import train_options

VALUES = {"data": ["expert", "medium"], "lr": 1, "widths": [32, 64], "rank": 8, "body": {"torso": 1.25}, "resume": None}
WORDS = ["data=[expert, medium]", "lr=1", "widths=[32, 64]", "rank=8", "body.torso=1.25"]


def test_values_are_read_as_words_are():
    assert read_options("pretrain", VALUES) == compose("pretrain", WORDS)
    assert read_options("train", {"task": "control"}) == usual_options("train") == compose("train")
    images = {"task": "classification", "size": "96x2", "flip": True, "recipe": "imagenet"}
    assert read_options("train", images) == compose("train", ["task=classification", "size=96x2", "flip=true",
                                                              "recipe=imagenet"])  # fmt: skip


def test_options_with_values_are_a_copy_that_shares_nothing():
    before = compose("train", ["init_options={narrow: cut}"])
    after = options_with(before, {"size": "96x2", "task": "control", "body.torso": 1, "train_lr": 1})
    assert (after.size.name, after.body.torso, after.train_lr) == ("96x2", 1.0, 1.0)
    after.size.name, after.init_options["narrow"] = "32x1", "fitted"
    assert before == compose("train", ["init_options={narrow: cut}"])
    assert options_with(before, {"model": None, "agent": "sac"}).model == "mlp"


@pytest.mark.parametrize(
    ("values", "says"),
    [({"sizes": "96x2"}, "unknown option 'sizes'; did you mean size"), ({"train_steps": 1.5}, "must be an integer"),
     ({"past_actions": 1}, "must be true or false"), ({"bank": ""}, "is empty")],
)  # fmt: skip
def test_values_of_another_type_are_refused(values, says):
    with pytest.raises(UserError, match=says):
        options_with(compose("train"), values)


@pytest.mark.parametrize("name", METHODS.names())
def test_the_options_of_a_method_are_options_of_training(name):
    method = METHODS.get(name)
    options = usual_options("train", method.task)
    assert options_with(options, method.options) != options or not method.options


def test_options_and_sources_are_pickled(tmp_path):
    for options in (made() for made in VERBS.values()):
        assert pickle.loads(pickle.dumps(options)) == options
    sources = Sources(Grid.of(compose("benchmark")), tmp_path, 1, {"rank": 8})
    sent = pickle.loads(pickle.dumps(sources))
    assert sent == sources and sent.bank_options("kronecker", 0).rank == 8


def test_an_export_trains_with_its_own_options_and_those_a_user_adds():
    words = ["env=Hopper", "size=32x1", "seed=3", "options={pixels: true, episodes: 2, init: scratch}"]
    made = train_options(compose("export", words), Size.parse("32x1"))
    asked = ["env=Hopper", "size=32x1", "seed=3", "pixels=true", "episodes=2", "init=scratch", "data=expert"]
    assert made == compose("train", asked)
    with pytest.raises(UserError, match="unknown option 'pixel'; did you mean pixels"):
        train_options(compose("export", ["env=Hopper", "size=32x1", "options={pixel: true}"]), Size.parse("32x1"))
