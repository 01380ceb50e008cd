"""The options of every command as a table: name, default, kind and help, and configs that are checked by it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import yaml

from weit_rl.common.errors import UserError
from weit_rl.options.benchmark_options import BenchmarkOptions, ImageBenchmarkOptions
from weit_rl.options.collect_options import CollectOptions
from weit_rl.options.evaluate_options import EvaluateOptions
from weit_rl.options.export_options import ExportOptions
from weit_rl.options.image_run_options import DescribeOptions, ImageEvaluateOptions, ImageExportOptions, SampleOptions
from weit_rl.options.image_training_options import ImagePretrainOptions, ImageTrainOptions
from weit_rl.options.option_fields import REQUIRED, Options
from weit_rl.options.pretrain_options import PretrainOptions
from weit_rl.options.train_options import TrainOptions
from weit_rl.options.value_kinds import KINDS, kind_of_annotation

if TYPE_CHECKING:
    from omegaconf import DictConfig

VERBS: dict[str, type[Options]] = {
    "train": TrainOptions,
    "pretrain": PretrainOptions,
    "evaluate": EvaluateOptions,
    "collect": CollectOptions,
    "benchmark": BenchmarkOptions,
    "export": ExportOptions,
    "vision_train": ImageTrainOptions,
    "vision_pretrain": ImagePretrainOptions,
    "vision_evaluate": ImageEvaluateOptions,
    "vision_sample": SampleOptions,
    "vision_export": ImageExportOptions,
    "vision_describe": DescribeOptions,
    "vision_benchmark": ImageBenchmarkOptions,
}

ADDED = ("model_options",)  # options that version 0.1 lacks; their defaults repeat what its runs did


@dataclass(frozen=True)
class Option:
    """One option of a verb.

    Attributes:
        key: its name, dotted inside a group ("size.width").
        default: its value when no word names it; None means "not set", ``???`` "must be given".
        kind: text, texts, integer, integers, count, number, numbers, boolean, edge, list or mapping.
        help: one line for ``--help``.
    """

    key: str
    default: Any
    kind: str
    help: str

    def parse(self, text: str) -> Any:
        """Read the value that a word stands for; UserError if it has another type than the option."""
        if not text:
            raise UserError(f"{self.key}=: is empty; give a value or leave the word out")
        if self.default is None and text == "null":
            return None
        kind, phrase = KINDS[self.kind], KINDS[self.kind].phrase
        try:
            items = kind.read(text)
            if self.kind == "list" and self.default:
                phrase = f"a list such as {self.default}"
                return [KINDS[_kind(self.default[0])].read(item) for item in items]
            return items
        except (ValueError, TypeError, KeyError, yaml.YAMLError) as error:
            raise UserError(f"{self.key}={text}: must be {phrase}") from error

    def read(self, value: Any) -> Any:
        """Read a value of a mapping as its word is read; UserError if it has another type than the option."""
        return self.parse(written(value))

    def accepts(self, value: Any) -> bool:
        """Return True if a value, as a config that was written holds it, is of the option's kind."""
        if value is None:
            return self.default is None
        if self.kind == "list" and self.default:
            return isinstance(value, list) and all(KINDS[_kind(self.default[0])].holds(item) for item in value)
        return KINDS[self.kind].holds(value)


def check_values(values: Mapping[str, Any], verb: str, whole: bool = False) -> None:
    """Check a config from a file, nested, against the options of a verb; what is none of them is passed over.

    Args:
        values: of the config.
        verb: of :data:`VERBS`.
        whole: if every option must be there; else some may be younger than the config (default).

    Raises:
        UserError: for a value of another type than its option's, or an option that is missing.
    """
    for key, option in options(verb).items():
        place: Any = values
        for group in key.split("."):
            if not isinstance(place, Mapping):
                raise UserError(f"{key}: must be in a group of options, not in {str(place)[:60]}")
            if group not in place:
                if whole:
                    raise UserError(f"{key}: is missing")
                break
            place = place[group]
        else:
            if not option.accepts(place):
                raise UserError(f"{key}={str(place)[:60]}: must be {KINDS[option.kind].phrase}")


@functools.cache
def options(verb: str) -> dict[str, Option]:
    """List all options of a verb by their key, in the order of ``--help``."""
    return {option.key: option for option in _options(VERBS[verb])}


def about(verb: str) -> str:
    """Describe what a verb does, in a few lines."""
    return inspect.cleandoc(VERBS[verb].__doc__ or "").partition("\n\n")[2]


def made(verb: str, values: Mapping[str, Any]) -> Options:
    """Make the options of a verb with nested plain values in the place of its defaults; others are passed over."""
    return _filled(VERBS[verb](), values)


def _filled(found: Options, values: Mapping[str, Any]) -> Options:
    for name, value in values.items():
        if isinstance(found.get(name), Options):
            _filled(found[name], value)
        elif name in found:
            found[name] = copy.deepcopy(value)
    return found


def with_added(values: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """Fill in the options of a verb that are newer than a stored config, with their defaults."""
    usual = VERBS[verb]()
    return {**{name: usual[name] for name in ADDED if name in usual}, **values}


def value_at(values: Any, key: str) -> Any:
    """Look up a value by its key, such as "size.width" in {"size": {"width": 64}}."""
    for group in key.split("."):
        values = values[group]
    return values


def written(value: Any) -> str:
    """Write a plain value as a word has it behind ``=``."""
    return value if isinstance(value, str) else json.dumps(value)


def as_config(values: dict[str, Any]) -> DictConfig:
    """Make a DictConfig of nested plain values; it refuses unknown keys and keeps ``${`` in a text as it is."""
    from omegaconf import OmegaConf

    config: DictConfig = OmegaConf.create(_escaped(values))
    OmegaConf.set_struct(config, True)
    return config


def plain_config(config: Options | DictConfig) -> dict[str, Any]:
    """Turn options, or what :func:`as_config` makes, into nested plain values."""
    if isinstance(config, Options):
        found: dict[str, Any] = dataclasses.asdict(config)  # type: ignore[call-overload]
        return found
    from omegaconf import OmegaConf

    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def _options(group: type[Options], prefix: str = "") -> Iterator[Option]:
    fields: tuple[Any, ...] = dataclasses.fields(group)  # type: ignore[arg-type]
    for field in sorted(fields, key=lambda field: _place(group, field.name)):
        default = field.default
        if default is dataclasses.MISSING:
            default = field.default_factory()
        if isinstance(default, Options):
            yield from _options(type(default), f"{prefix}{field.name}.")
        else:
            kind = "list" if default and isinstance(default, list) else kind_of_annotation(field.type)
            told = "" if kind == _kind(default) else f"[{kind}] "
            yield Option(prefix + field.name, default, kind, told + field.metadata["help"])


def _place(group: type[Options], name: str) -> int:
    """Find the place where the class that declared an option first wants it shown."""
    first = next(base for base in reversed(group.__mro__) if name in inspect.get_annotations(base))
    return int(first.__dict__.get("place", 0))


def _kind(value: Any) -> str:
    if value is None or value == REQUIRED:
        return "undeclared"
    return {bool: "boolean", int: "integer", float: "number", list: "list", dict: "mapping"}.get(type(value), "text")


def _escaped(value: Any) -> Any:
    """Escape ``${...}``, which OmegaConf reads as a reference to another option; in a path it is just characters."""
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value
