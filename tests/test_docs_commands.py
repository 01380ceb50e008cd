"""The commands of the docs, as tests/stress/docs_commands.py runs them: all are found, and their options exist."""

import re
import shlex
import sys
from collections import Counter
from pathlib import Path

import pytest

from weit_rl.options.choices import check_choices, check_numbers
from weit_rl.options.command import compose
from weit_rl.options.option_table import VERBS, options

sys.path.append(str(Path(__file__).parent / "stress"))
import docs_commands
import docs_cuts
import docs_fixtures

WRITTEN = {"path/to/new", "path/to/demonstrations"}  # by the command that names it
COMMANDS = {
    f"{page.relative_to(docs_commands.ROOT)}:{line}": command
    for page in docs_commands.PAGES
    for line, command in docs_commands.commands(page.read_text())
}
OF_WEIT = {where: found for where, command in COMMANDS.items() if (found := docs_commands.VERB.search(command))}
INLINE = [
    pytest.param(found[1], found[2], id=f"{page.stem}-{found[1]}")
    for page in docs_commands.PAGES
    for code in re.findall(
        r"`([^`]+)`", re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    )
    if (found := docs_commands.VERB.search(" ".join(code.split())))
]


def test_commands_of_blocks_and_indented_ones_are_found_and_other_code_is_not():
    page = "```bash\n# a comment\npython a.py  # b\n\n```\n\n    python c.py\n    x = 1\n\n"
    page += "```python\n    python = 1\n```\n"
    page += "1. so:\n   ```bash\n   make it\n   ```\n"
    assert list(docs_commands.commands(page)) == [(3, "python a.py  # b"), (7, "python c.py"), (15, "make it")]
    told = sum(len(re.findall("-m weit_rl", text.read_text())) for text in docs_commands.PAGES)
    assert told / 2 < len(OF_WEIT) < told


@pytest.mark.parametrize("where", OF_WEIT)
def test_a_command_has_options_that_exist_and_so_has_the_shorter_one(where):
    verb, words = OF_WEIT[where][1], shlex.split(OF_WEIT[where][2], comments=True)
    if {"--help"} & set(words) or any(word.startswith(("-", "hydra")) for word in words):
        return  # test_hydra.py
    for config in (compose(verb, words), compose(verb, [*words, *docs_cuts.cut(verb, words)])):
        check_numbers(config)
        check_choices(config)


@pytest.mark.parametrize(("verb", "rest"), INLINE)
def test_a_command_in_a_sentence_has_options_that_exist(verb, rest):
    words = shlex.split(rest)
    if "--help" not in words:
        check_choices(compose(verb, words))


def test_no_page_makes_a_run_folder_twice():
    made = [
        (where.partition(":")[0], folder)
        for where, found in OF_WEIT.items()
        if found[1] != "benchmark"  # which goes on with its folder
        for folder in re.findall(r"\brun_dir=(\S+)", found[2])
    ]
    assert len(made) > 20 and not [one for one, times in Counter(made).items() if times > 1]


def test_work_is_cut_but_a_smaller_number_stays():
    words = ["train_steps=3000", "scaler_steps=0", "episodes=10", "validation_episodes=0", "evaluate_every=150"]
    cut = {"train_steps=3", "episodes=1", "evaluate_every=3", "batch_size=4", "threads=1"}
    assert set(docs_cuts.cut("train", words)) == cut
    assert docs_cuts.cut("train", ["resume=runs/mine"]) == docs_cuts.cut("export", ["run=RUN"]) == []
    assert "seeds=[0]" in docs_cuts.cut("benchmark", ["seeds=[0, 1, 2]"])
    assert not [word for word in docs_cuts.cut("collect", ["mode=record"]) if word.startswith(("steps", "levels"))]


def test_everything_that_is_cut_is_an_option():
    known = {name: set(options(name)) for name in VERBS}
    for name, cut in docs_cuts.CUT.items():
        assert cut.keys() <= known[name.split()[0]]
    assert docs_cuts.EVERYWHERE.keys() <= known["train"] and docs_cuts.SHORTENED.keys() <= set().union(*known.values())


def test_no_row_of_a_table_is_left_over():
    for pattern in [*docs_cuts.NOT_RUN, *docs_cuts.APPENDED]:
        assert any(re.search(pattern, command) for command in COMMANDS.values()), pattern
    text = "\n".join(COMMANDS.values())
    assert all(name in text for name in docs_fixtures.MAKERS)


def test_every_placeholder_has_a_maker():
    shown = {
        name
        for command in COMMANDS.values()
        if not any(re.search(pattern, command) for pattern in docs_cuts.NOT_RUN)
        for name in re.findall(r"path/to/[\w.]+|\b[A-Z]+\.\w+", command)
    }
    assert shown - WRITTEN == docs_fixtures.MAKERS.keys()
