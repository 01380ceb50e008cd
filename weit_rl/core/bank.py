"""TemplateBank: the templates of every role, and the network they were pre-trained with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.seeds import seeded_generator
from weit_rl.common.sizes import Size
from weit_rl.core.bank_file import check_card_types, read_bank, write_bank
from weit_rl.core.bank_sharing import HubSharing
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.normaliser import add_missing_limits
from weit_rl.core.parameter_map import Parameters
from weit_rl.core.plan import Plan
from weit_rl.storage.hub import SCHEME


class TemplateBank(HubSharing, nn.Module):
    """Templates by role, shared by all layers and all sizes of the networks that use the bank.

    ``save_pretrained``, ``push_to_hub`` and ``from_pretrained`` come from
    :class:`weit_rl.core.bank_sharing.HubSharing`.

    Args:
        templates: the shared factors by role, ``(N, *tile)``, or of another shape if the card has ``tiles``.
        constraint: how templates and scalers make a weight (a name in ``CONSTRAINTS``; default ``"kronecker"``).
        card: description of the bank: configuration, data, sizes sampled, scores, licence (default: empty).
        source: tensors of the pre-trained network, from which a new size starts: factors by slot (``own.*``) and
            buffers (``buffer.*``). Default: empty, for a fresh bank.

    Attributes:
        tiles: shape of a tile, by role; ``plan.with_tiles(bank.tiles)`` gives them to a plan.

    Raises:
        UserError: if the constraint is unknown.
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
        self.source = add_missing_limits(source or {})
        self.templates = Parameters(templates)
        tiles = self.card.get("tiles", {})
        self.tiles = {role: tuple(tiles.get(role, shared.shape[1:])) for role, shared in templates.items()}

    @classmethod
    def from_plan(
        cls, plan: Plan, rank: int | Mapping[str, int] = 32, constraint: str = "kronecker", seed: int = 0
    ) -> TemplateBank:
        """Make a fresh bank for the roles of a plan.

        Args:
            plan: its composed rules name the roles and their tiles.
            rank: templates per role, ``N``: one number for all roles, or a number by role (default 32).
            constraint: a name in ``CONSTRAINTS`` (default ``"kronecker"``).
            seed: draws the templates (default 0).

        Raises:
            UserError: if the plan composes no parameter, a rank is not positive or the constraint is unknown.
        """
        tiles, kind, generator = plan.tiles(), CONSTRAINTS.get(constraint), seeded_generator("templates", seed)
        if not tiles:
            raise UserError("the plan composes no parameter; give at least one rule a tile")
        ranks = {role: rank if isinstance(rank, int) else rank.get(role, 0) for role in tiles}
        for role, number in ranks.items():
            if number < 1:
                raise UserError(f"rank={number}: role {role!r} needs 1 template or more")
        templates = {role: kind.shared(ranks[role], tile, std, generator) for role, (tile, std) in tiles.items()}
        # If tiles are whole weights, the shapes of the factors do not show the shapes of the tiles.
        card = {"tiles": {role: list(tile) for role, (tile, _) in tiles.items()}} if kind.whole else {}
        return cls(templates, constraint, card)

    def network_size(self) -> Size:
        """Return the size of the pre-trained network.

        Raises:
            UserError: if the bank holds none.
        """
        if "size" not in self.card:
            raise UserError("the bank holds templates but no pre-trained network; make one with weit_rl.pretrain")
        return Size(*self.card["size"])

    def roles(self) -> list[str]:
        """Return the names of all roles."""
        return list(self.templates)

    def template(self, role: str, tile: tuple[int, ...]) -> Tensor:
        """Return the templates of a role.

        Raises:
            UserError: if the bank lacks the role or has other tiles.
        """
        if role not in self.templates:
            raise UserError(f"the bank has no role {role!r} that the model needs (it has {', '.join(self.roles())})")
        if self.tiles[role] != tuple(tile):
            have, want = ("x".join(map(str, shape)) for shape in (self.tiles[role], tile))
            raise UserError(f"role {role!r}: the bank's tiles are {have}, the plan asks for {want}")
        return self.templates[role]

    def save(self, path: str | Path) -> Path:
        """Write the bank (safetensors) and a readable copy of its card beside it (``.json``); return the path.

        Raises:
            UserError: if the folder cannot be written.
        """
        path = Path(path)
        write_bank(path, self.templates, self.source, self.card)
        return path

    @classmethod
    def load(cls, path: str | Path) -> TemplateBank:
        """Read a bank.

        Args:
            path: of its file, or ``hf:USER/NAME`` for a repository on the Hugging Face hub.

        Raises:
            UserError: if the file is missing, damaged, edited or no bank.
        """
        if str(path).startswith(SCHEME):
            return cls.from_pretrained(str(path).removeprefix(SCHEME))
        tensors, card = read_bank(Path(path))
        try:
            check_card_types(card)
            parts: dict[str, dict[str, Tensor]] = {"templates": {}, "source": {}}
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = tensor
            return cls(parts["templates"], card["constraint"], card, parts["source"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:  # a stranger's card may hold anything
            reason = " ".join(f"{error}".split())[:200]
            raise UserError(f"{path}: its card does not fit its tensors ({reason}); get the bank again") from error
