"""The README.md of a shared bank, written from the bank's card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.options.choices import DEFAULT

Card = Mapping[str, Any]

HUB_TASKS = {  # task of a run -> the hub's name for it
    "control": "reinforcement-learning",
    "classification": "image-classification",
    "diffusion": "unconditional-image-generation",
}
HUB_METRICS = {"return_mean": "mean_reward", "accuracy": "accuracy", "psnr": "psnr"}  # score -> the hub's name for it
COLUMNS = {
    "return_mean": "return",
    "return_std": "+-",
    "score": "score",
    "accuracy": "accuracy (%)",
    "psnr": "PSNR (dB)",
}
COLUMNS |= {"loss": "loss", "episodes": "episodes", "images": "images"}


def bank_card(card: Card, repo_id: str = "USER/NAME") -> str:
    """Return a model card: Markdown with the YAML header that the hub reads; it leaves out what the bank's card lacks.

    Args:
        card: of the bank (``TemplateBank.card``).
        repo_id: name of the repository (default: a placeholder).

    Raises:
        UserError: if huggingface_hub is not installed.
    """
    parts = [f"# {_title(card)}", _description(card), "\n".join(_facts(card)), _usage(card, repo_id), *_tables(card)]
    return f"---\n{_header(card)}\n---\n\n" + "\n\n".join(parts) + "\n"


def _header(card: Card) -> str:
    """Return the YAML header: licence, library, tags, and the scores as the hub's ``model-index``."""
    try:
        from huggingface_hub import EvalResult, ModelCardData
    except ImportError as error:
        raise UserError(f"a model card needs huggingface_hub ({error}): pip install 'weit_rl[hub]'") from error
    kind = HUB_TASKS.get(_config(card).get("task", "control"), "other")
    results = [
        EvalResult(kind, name, name, hub_metric, round(score[metric], 3), metric_name=f"{hub_metric}, {size}")
        for name, sizes in _by_name(card, "scores").items()
        for size, score in sizes.items()
        for metric, hub_metric in HUB_METRICS.items()
        if metric in score
    ]
    licence, tags = str(card.get("licence", "other")).lower(), ["weit", *_model(card), *_names(card)]
    entries: dict[str, Any] = {"license": licence, "library_name": "weit_rl", "pipeline_tag": kind, "tags": tags}
    return str(ModelCardData(**entries, model_name=_title(card), eval_results=results or None).to_yaml())


def _description(card: Card) -> str:
    size = "x".join(map(str, card.get("size", [])[:2]))
    of = f" and the network of {size} they were pre-trained with" if size else ""
    return (
        f"A bank of weit_rl: templates under the constraint `{card['constraint']}` (WeiT, arXiv 2604.14769){of}. "
        "Networks of any other width and depth start from it."
    )


def _facts(card: Card) -> Iterator[str]:
    config, made = _config(card), card.get("made_with", {})
    if "numbers" in card:
        yield "- numbers: " + ", ".join(f"{count:,} ({name})" for name, count in card["numbers"].items())
    if "sizes_sampled" in card:
        yield f"- sizes sampled in pre-training: {', '.join(card['sizes_sampled'])}"
    for name, data in _by_name(card, "data").items():
        returns = f", return {data['return_mean']:,.0f} +- {data['return_std']:,.0f}" if "return_mean" in data else ""
        source = str(config.get("data")).rsplit("/", 1)[-1]  # a path may be private; its last name is enough
        yield f"- data: {name}, {source}, {data['episodes']} episodes{returns}"
    if "flops" in card:
        yield f"- pre-training: {config.get('steps')} steps of {config.get('batch_size')}, {card['flops']:.2e} FLOPs"
    yield f"- made with: weit_rl {card.get('weit_rl', '(not said)')}, torch {made.get('torch', '(not said)')}"


def _usage(card: Card, repo_id: str) -> str:
    option = "data" if "task" in _config(card) else "env"
    verb, model = "vision" if option == "data" else "train", "".join(f" model={name}" for name in _model(card))
    name = (_names(card) or ["..."])[0]
    return (
        f"```bash\npython -m weit_rl.{verb} {option}={name}{model} size=96x4 bank=hf:{repo_id}\n```\n\n"
        f'```python\nfrom weit_rl import TemplateBank\n\nbank = TemplateBank.from_hub("{repo_id}")\n```'
    )


def _tables(card: Card) -> Iterator[str]:
    for name, sizes in _by_name(card, "scores").items():
        columns = [key for key in COLUMNS if any(score.get(key) is not None for score in sizes.values())]
        rows = [["size", *(COLUMNS[key] for key in columns)], ["---"] * (len(columns) + 1)]
        rows += [[size, *(_number(sizes[size].get(key)) for key in columns)] for size in sorted(sizes, key=Size.parse)]
        grid = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        yield f"## {name} without a further step\n\n{grid}"


def _title(card: Card) -> str:
    return " ".join(["WeiT template bank", *_model(card), *_names(card)])


def _config(card: Card) -> Card:
    config: Card = card.get("config", {})
    return config


def _model(card: Card) -> list[str]:
    return [str(card.get("model", DEFAULT))] if "size" in card else []


def _names(card: Card) -> list[str]:
    named = card.get("names") or _config(card).get("env", [])  # older cards have no names
    return [named] if isinstance(named, str) else list(named)


def _by_name(card: Card, key: str) -> Mapping[str, Any]:
    """Return an entry of the card by body, also if the bank has a single one."""
    names, value = _names(card), card.get(key)
    if not value or not names:
        return {}
    return value if len(names) > 1 else {names[0]: value}


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"
