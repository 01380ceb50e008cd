"""TemplateBank: the templates of every role, and the network they were pre-trained with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.home import expanded
from weit_rl.common.seeds import seeded
from weit_rl.common.sizes import Size
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.normaliser import with_limits
from weit_rl.core.parameter_map import Parameters
from weit_rl.core.plan import Plan
from weit_rl.storage.atomic_write import cannot_write, write_atomically
from weit_rl.storage.hub import SCHEME, download, upload
from weit_rl.storage.tensor_file import read_tensors, write_tensors

FORMAT = "weit_rl bank 1"
SAMPLED = re.compile(r"\d{1,6}x\d{1,6}(x\d{1,6})?")  # a size in a card
FILE, README = "bank.safetensors", "README.md"  # in a folder or repository that is shared


class TemplateBank(nn.Module):
    """Templates by role, shared by all layers and all sizes of the networks that use the bank.

    Args:
        templates: the shared factors by role, ``(N, *tile)``, or of another shape if the card names the ``tiles``.
        constraint: how templates and scalers make a weight (a name in ``CONSTRAINTS``).
        card: what is known of the bank: configuration, data, sizes sampled, scores, licence.
        source: the tensors of the network it was pre-trained with (``own.*`` by slot, ``buffer.*``);
            a new size starts from them. Empty for a fresh bank.

    Attributes:
        tiles: by role, the shape of a tile; a plan takes them with ``plan.with_tiles(bank.tiles)``.
    """

    def __init__(
        self,
        templates: Mapping[str, Tensor],
        constraint: str = "kronecker",
        card: dict[str, Any] | None = None,
        source: Mapping[str, Tensor] | None = None,
    ):
        super().__init__()
        self.constraint = CONSTRAINTS.get(constraint)
        self.card: dict[str, Any] = {**(card or {}), "constraint": constraint}
        self.source = with_limits(source or {})
        self.templates = Parameters(templates)
        tiles = self.card.get("tiles", {})
        self.tiles = {role: tuple(tiles.get(role, shared.shape[1:])) for role, shared in templates.items()}

    @classmethod
    def from_plan(
        cls, plan: Plan, rank: int | Mapping[str, int] = 32, constraint: str = "kronecker", seed: int = 0
    ) -> TemplateBank:
        """A fresh bank for the roles of a plan.

        Args:
            plan: its composed rules name the roles and their tiles.
            rank: templates per role, ``N``: one number, or one for each role.
            constraint: a name in ``CONSTRAINTS``.
            seed: draws the templates.

        Raises:
            UserError: if the plan composes nothing, the rank is not positive or the constraint is unknown.
        """
        tiles, kind, generator = plan.tiles(), CONSTRAINTS.get(constraint), seeded("templates", seed)
        if not tiles:
            raise UserError("the plan composes no parameter; give at least one rule a tile")
        ranks = {role: rank if isinstance(rank, int) else rank.get(role, 0) for role in tiles}
        for role, number in ranks.items():
            if number < 1:
                raise UserError(f"rank={number}: role {role!r} needs 1 template or more")
        templates = {role: kind.shared(ranks[role], tile, std, generator) for role, (tile, std) in tiles.items()}
        # Factors of whole weights do not show the tile's shape.
        card = {"tiles": {role: list(tile) for role, (tile, _) in tiles.items()}} if kind.whole else {}
        return cls(templates, constraint, card)

    def network_size(self) -> Size:
        """The size of the network it was pre-trained with; UserError if it holds none."""
        if "size" not in self.card:
            raise UserError("the bank holds templates but no pre-trained network; make one with weit_rl.pretrain")
        return Size(*self.card["size"])

    def roles(self) -> list[str]:
        """The names of all pools of templates."""
        return list(self.templates)

    def template(self, role: str, tile: tuple[int, ...]) -> Tensor:
        """The templates of a role; raises UserError if the bank lacks it or has other tiles."""
        if role not in self.templates:
            raise UserError(f"the bank has no role {role!r} that the model needs (it has {', '.join(self.roles())})")
        if self.tiles[role] != tuple(tile):
            have, want = ("x".join(map(str, shape)) for shape in (self.tiles[role], tile))
            raise UserError(f"role {role!r}: the bank's tiles are {have}, the plan asks for {want}")
        return self.templates[role]

    def save(self, path: str | Path) -> Path:
        """Write ``path`` (safetensors) and a readable copy of its card beside it (``.json``)."""
        path = Path(path)
        tensors = {f"templates.{role}": self.templates[role].detach() for role in self.roles()}
        tensors |= {f"source.{name}": t.detach() for name, t in self.source.items()}
        card = {"format": FORMAT, **self.card}
        # The copy first: a bank that is there has its card.
        write_atomically(_card_path(path), (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
        write_tensors(path, tensors, card)
        return path

    @classmethod
    def load(cls, path: str | Path) -> TemplateBank:
        """Read a bank, a file or ``hf:USER/NAME``; raises UserError if it is missing, damaged, edited, or no bank."""
        if str(path).startswith(SCHEME):
            return cls.from_hub(str(path).removeprefix(SCHEME))
        path = Path(path)
        tensors, card = read_tensors(path)
        if card.get("format") != FORMAT:
            raise UserError(
                f"{path}: not a template bank (format {card.get('format')!r}); make one with weit_rl.pretrain"
            )
        _check_card(_card_path(path), card)
        try:
            _check_kinds(card)
            parts: dict[str, dict[str, Tensor]] = {"templates": {}, "source": {}}
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = tensor
            return cls(parts["templates"], card["constraint"], card, parts["source"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:  # a card may say anything
            reason = " ".join(f"{error}".split())[:200]
            raise UserError(f"{path}: its card does not go with its tensors ({reason}); get the bank again") from error

    def save_pretrained(self, folder: str | Path, repo_id: str | None = None) -> Path:
        """Write the bank into a folder as it is shared: ``bank.safetensors``, ``bank.json`` and ``README.md``.

        Args:
            folder: made if it is not there.
            repo_id: the name that the README calls it by (default: a placeholder).

        Raises:
            UserError: if it holds one of these files already, or cannot be written.
        """
        from weit_rl.core.bank_readme import bank_card

        folder = expanded(folder)
        text = bank_card(self.card, *([repo_id] if repo_id else []))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        for name in (FILE, _card_path(Path(FILE)).name, README):
            if (folder / name).exists():
                raise UserError(f"{folder / name}: exists already; choose another folder")
        write_atomically(folder / README, text.encode())
        self.save(folder / FILE)
        return folder

    def push_to_hub(self, repo_id: str, commit_message: str = "Upload a template bank", **options: Any) -> str:
        """Share the bank on the Hugging Face hub, with a model card; returns the commit's address.

        Args:
            repo_id: ``USER/NAME``; the repository is made if there is none.
            commit_message: of the commit.
            options: ``private``, ``token``, ``revision`` and ``create_pr`` of :func:`weit_rl.storage.hub.upload`.

        Raises:
            UserError: if the hub cannot be reached or refuses.
        """
        with TemporaryDirectory() as folder:
            return upload(self.save_pretrained(folder, repo_id), repo_id, commit_message, **options)

    @classmethod
    def from_hub(cls, repo_id: str, **options: Any) -> TemplateBank:
        """Read a bank of the Hugging Face hub; only its safetensors are fetched, and nothing of it is run.

        Args:
            repo_id: ``USER/NAME``, or a folder that :meth:`save_pretrained` wrote.
            options: ``revision``, ``token``, ``cache_dir``, ``force_download`` and ``local_files_only``.

        Raises:
            UserError: as :func:`weit_rl.storage.hub.download` and :meth:`load` do.
        """
        return cls.load(download(repo_id, FILE, **options))


def _check_kinds(card: Mapping[str, Any]) -> None:
    """TypeError for an entry of a card that is used and of another kind than it has to be."""
    counts = card.get("size", [1, 1, 1])
    texts = [card["constraint"], card.get("model", ""), *_several(card.get("names", []))]
    texts += _several(card.get("sizes_sampled", []))
    if len(counts) != 3 or not all(type(count) is int and count > 0 for count in counts):
        raise TypeError(f"size {counts!r:.60}")
    if not all(isinstance(text, str) for text in texts) or not isinstance(card.get("config", {}), dict):
        raise TypeError("texts and options of other kinds")
    if not isinstance(card.get("tiles", {}), dict):
        raise TypeError(f"tiles {card['tiles']!r:.60}")
    for text in _several(card.get("sizes_sampled", [])):
        if not SAMPLED.fullmatch(text):
            raise TypeError(f"sizes_sampled {text!r:.60}")


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _card_path(bank: Path) -> Path:
    return bank.with_suffix(".json") if bank.suffix == ".safetensors" else bank.with_name(bank.name + ".json")


def _check_card(path: Path, card: dict[str, Any]) -> None:
    if not path.is_file():
        return
    try:
        same = json.loads(path.read_text()) == card
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise UserError(f"{path}: was edited, it no longer says what its bank's own card says; restore or delete it")
