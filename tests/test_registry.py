"""Registries and sizes by name."""

import importlib
from importlib.metadata import EntryPoint

import pytest

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry
from weit_rl.common.sizes import LADDER, Size


@pytest.fixture
def registry():
    registry = Registry("environment")
    registry.add("HalfCheetah", 1)
    registry.add("Hopper", 2)
    return registry


def test_names_keep_their_order(registry):
    assert registry.names() == ["HalfCheetah", "Hopper"] and registry.get("Hopper") == 2


def test_files_of_a_package_and_entry_points_of_others_add_things(tmp_path, monkeypatch):
    package = tmp_path / "a_package_of_plug_ins"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from weit_rl.common.registry import Registry\nTHINGS = Registry('thing', __name__, 'a.group')\n"
    )
    for name in ("second", "first"):
        (package / f"{name}.py").write_text(
            f"from a_package_of_plug_ins import THINGS\nTHINGS.add('{name}', '{name} file')\n"
        )
    (package / "_helper.py").write_text("raise RuntimeError('is no member')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        "weit_rl.common.registry.entry_points",
        lambda group: [EntryPoint("third", "a_package_of_plug_ins.first:THINGS", group)] if group == "a.group" else [],
    )
    things = importlib.import_module("a_package_of_plug_ins").THINGS
    assert things.names() == ["first", "second", "third"]
    assert things.get("first") == "first file" and things.get("third") is things
    with pytest.raises(
        UserError, match=r"unknown thing 'fist'; did you mean first\? \(possible: first, second, third\)"
    ):
        things.get("fist")


def test_a_name_can_be_taken_once(registry):
    with pytest.raises(ValueError, match="'Hopper' is registered twice"):
        registry.add("Hopper", 3)
    assert registry.get("Hopper") == 2


def test_a_temporary_member_is_gone_afterwards(registry):
    with registry.temporarily({"Ant": 3}):
        registry.add("Swimmer", 4)
        assert registry.names() == ["HalfCheetah", "Hopper", "Ant", "Swimmer"] and registry.get("Ant") == 3
    assert registry.names() == ["HalfCheetah", "Hopper"]
    with pytest.raises(ValueError, match="'Hopper' is registered twice"), registry.temporarily({"Ant": 3, "Hopper": 4}):
        pytest.fail("this name is taken")
    assert registry.names() == ["HalfCheetah", "Hopper"] and registry.get("Hopper") == 2


def test_an_unknown_name_gets_the_nearest_and_all(registry):
    with pytest.raises(UserError) as error:
        registry.get("HalfCheeta")
    assert str(error.value) == (
        "unknown environment 'HalfCheeta'; did you mean HalfCheetah? (possible: HalfCheetah, Hopper)"
    )
    for name in ("zzz", 3):
        with pytest.raises(UserError, match=rf"^unknown environment {name!r} \(possible"):
            registry.get(name)


@pytest.mark.parametrize("name", LADDER)
def test_the_ladder_holds_whole_heads(name):
    assert Size.parse(name).width % Size.head_dim == 0


def test_sizes_are_read_from_names_and_shapes():
    assert Size.parse("small") == Size.parse("128x3") == Size(128, 3)
    assert str(Size(160, 5)) == "160x5"
    assert Size.parse("192x12x64") == Size(192, 12, 64) and str(Size(192, 12, 64)) == "192x12x64"
    assert Size.parse("128x3", 64) == Size.parse("small", 64) == Size(128, 3, 64)


@pytest.mark.parametrize("text", ["smal", "128", "128x", "x3", "128x3x2x1", "128x3x", "-32x2", "³x2", "axb"])
def test_other_texts_are_no_size(text):
    with pytest.raises(UserError, match="unknown size"):
        Size.parse(text)


@pytest.mark.parametrize(
    ("width", "depth", "says"),
    [(100, 3, "such as 96 or 128"), (0, 3, "size.width=0"), (-32, 3, "size.width=-32"), (16, 1, "such as 32 or 64"),
     (64, 0, "size.depth=0"), (64, -1, "size.depth=-1")],
)  # fmt: skip
def test_impossible_sizes_say_what_is_possible(width, depth, says):
    with pytest.raises(UserError, match=says):
        Size(width, depth)
