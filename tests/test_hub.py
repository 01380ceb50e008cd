"""Banks on the Hugging Face hub: uploads, downloads and model cards, without a network connection."""

import inspect
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.bank_readme import bank_card
from weit_rl.models import MODELS
from weit_rl.models.shipped_banks import BANKS
from weit_rl.options.command import compose
from weit_rl.workflows.train_run import TrainRun

hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub: pip install 'weit_rl[hub]'")
SHIPPED = sorted(BANKS.glob("*.safetensors"))
FILES = {"bank.safetensors", "bank.json", "README.md"}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Replace the hub by a folder on this machine: uploads go into the cache of huggingface_hub."""
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    asked = []

    def create_repo(self, repo_id, **options):
        asked.append(inspect.signature(TRUE["create_repo"]).bind(self, repo_id, **options).arguments)
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(self, **options):
        asked.append(inspect.signature(TRUE["upload_folder"]).bind(self, **options).arguments)
        repo = tmp_path / "hub" / f"models--{options['repo_id'].replace('/', '--')}"
        shutil.copytree(options["folder_path"], repo / "snapshots" / ("0" * 40))
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text("0" * 40)
        return f"https://huggingface.co/{options['repo_id']}/commit/0"

    for name, fake in {"create_repo": create_repo, "upload_folder": upload_folder}.items():
        monkeypatch.setattr(hub.HfApi, name, fake)
    return SimpleNamespace(asked=asked, folder=tmp_path / "hub")


TRUE = {name: getattr(hub.HfApi, name) for name in ("create_repo", "upload_folder")}


def same(one, other):
    return one.card == other.card and all(torch.equal(t, other.templates[role]) for role, t in one.templates.items())


def header(text):
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1]), text.split("---\n", 2)[2]


def test_a_bank_goes_up_and_comes_back(cache, tiny_bank, tiny_data, tmp_path):
    bank = TemplateBank.load(tiny_bank)
    address = bank.push_to_hub("someone/halfcheetah", private=True, revision="main", create_pr=False)
    assert address.endswith("someone/halfcheetah/commit/0")
    made, put = cache.asked
    assert made["private"] is True and made["exist_ok"] and put["commit_message"] and put["revision"] == "main"
    (snapshot,) = (cache.folder / "models--someone--halfcheetah" / "snapshots").iterdir()
    assert {path.name for path in snapshot.iterdir()} == FILES
    assert "bank=hf:someone/halfcheetah" in (snapshot / "README.md").read_text()
    for again in (TemplateBank.from_pretrained("someone/halfcheetah"), TemplateBank.load("hf:someone/halfcheetah")):
        assert same(bank, again)
    words = ["env=HalfCheetah", f"data={tiny_data}", "context=5", "size=32x1", "bank=hf:someone/halfcheetah"]
    assert same(bank, TrainRun(compose("train", [*words, f"run_dir={tmp_path / 'run'}"])).bank)


def test_the_snippet_of_the_page_shares_a_bank(cache, tiny_bank, tmp_path, monkeypatch):
    shutil.copytree(tiny_bank.parent, tmp_path / "runs" / "bank")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "docs" / "share_banks.md").read_text()
    snippet = next(found for found in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "hub" in found)
    exec(compile(snippet, "share_banks.md", "exec"), names := {})
    assert same(names["bank"], TemplateBank.load(tiny_bank)) and (tmp_path / "folder" / "bank.json").exists()


def test_a_folder_is_read_as_the_hub_is_and_nothing_in_it_is_overwritten(tiny_bank, tmp_path):
    bank = TemplateBank.load(tiny_bank)
    folder = bank.save_pretrained(tmp_path / "new" / "bank")
    assert {path.name for path in folder.iterdir()} == FILES and same(bank, TemplateBank.from_hub(str(folder)))
    assert json.loads((folder / "bank.json").read_text()) == bank.card
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my own words")
    for taken in (folder, tmp_path / "mine"):
        before = {path: path.read_bytes() for path in taken.iterdir()}
        with pytest.raises(UserError, match="exists already; choose another folder"):
            bank.save_pretrained(taken)
        assert before == {path: path.read_bytes() for path in taken.iterdir()}


@pytest.mark.parametrize("name", ["someone/nothing", "not a name/at all/x", "nowhere"])
def test_a_missing_repository_is_one_line(cache, name, refused, words, tmp_path):
    with pytest.raises(UserError, match=f"{name}: no such folder here, and no such repository on the hub") as error:
        TemplateBank.from_hub(name)
    assert "\n" not in str(error.value)
    assert f"{name}: no such folder here" in refused("train", *words["train"], f"bank=hf:{name}")


def test_a_repository_without_a_bank_or_with_another_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"bank\.safetensors: cannot read"):
        TemplateBank.from_hub(str(tmp_path))
    (tmp_path / "bank.safetensors").write_bytes(b"\x80\x04}")  # a pickle, which nobody opens
    with pytest.raises(UserError, match="not a whole weit_rl tensor file"):
        TemplateBank.from_hub(str(tmp_path))


OF_MODEL = {  # the hub's task, what the scores are, how a table shows them
    "vit": ("image-classification", "accuracy", ".4g"),
    "convnext": ("image-classification", "accuracy", ".4g"),
    "dit": ("unconditional-image-generation", "psnr", ".4g"),
}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_model_card_shows_the_card_of_the_bank(path):
    card = TemplateBank.load(path).card
    data, text = header(bank_card(card, "someone/bank"))
    model, several = card.get("model", "dt"), path.stem.partition("-")[0] == "bodies"
    names = card["names"] if several else [path.stem.partition("-")[0]]
    scores = {} if several else card["scores"]  # those of four bodies were not scored on the way
    assert (
        data["license"] == "apache-2.0" and data["library_name"] == "weit_rl" and {model, *names} <= set(data["tags"])
    )
    task, metric, shape = OF_MODEL.get(model, ("reinforcement-learning", "return_mean", ",.0f"))
    assert data["pipeline_tag"] == task
    results = [] if several else data["model-index"][0]["results"]
    told = {m["name"].split(", ")[1]: m["value"] for r in results for m in r["metrics"]}
    assert told == {size: round(score[metric], 3) for size, score in scores.items()}
    for size, score in scores.items():
        assert f"| {size} | {score[metric]:{shape}} |" in text
    assert f"{card['numbers']['templates']:,} (templates)" in text and ", ".join(card["sizes_sampled"]) in text
    (command,) = [line for line in text.splitlines() if line.startswith("python -m ")]
    verb, *words = command.removeprefix("python -m weit_rl.").split()
    assert compose(verb, words).model == model and "bank=hf:someone/bank" in words


def test_the_card_of_a_bank_that_says_little_or_has_several_bodies(tmp_path):
    plan = MODELS.get("mlp").plan(8)
    fresh = TemplateBank.from_plan(plan, rank=2)
    data, text = header(bank_card(fresh.card))
    assert data["license"] == "other" and "model-index" not in data and "USER/NAME" in text and "{" not in text
    score = {"return_mean": 1.5, "return_std": 0.5, "score": None, "episodes": 2}
    reference = {"episodes": 3, "return_mean": 9.0, "return_std": 1.0}
    several = {"names": ["Hopper", "Ant"], "scores": {"Hopper": {"32x1": score}, "Ant": {"32x1": score}}}
    several["data"] = dict.fromkeys(("Hopper", "Ant"), reference)
    data, text = header(bank_card({**fresh.card, **several, "size": [64, 2, 32], "model": "mlp"}))
    assert [r["dataset"]["name"] for r in data["model-index"][0]["results"]] == ["Hopper", "Ant"]
    assert "## Ant without a further step" in text and "| 32x1 | 1.5 | 0.5 | 2 |" in text


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    for call in (lambda: bank_card({"constraint": "kronecker"}), lambda: TemplateBank.from_hub("someone/bank")):
        with pytest.raises(UserError, match=r"pip install 'weit_rl\[hub\]'"):
            call()
