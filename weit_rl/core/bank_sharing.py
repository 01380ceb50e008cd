"""Sharing of banks: a folder, or a repository on the Hugging Face hub.

The methods are named as in huggingface_hub's ``ModelHubMixin``. That class is not used, because huggingface_hub is an
optional extra, and because it would add a ``config.json`` that banks do not need.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.core.bank_file import card_path
from weit_rl.storage.atomic_write import cannot_write_error, write_atomically
from weit_rl.storage.hub import download, upload

FILE, README = "bank.safetensors", "README.md"  # file names in a shared folder or repository
Bank = TypeVar("Bank", bound="HubSharing")


class HubSharing:
    """A mixin for a bank with a ``card``, a method ``save`` and a class method ``load``."""

    card: dict[str, Any]

    def save(self, path: str | Path) -> Path:
        """Write the bank to a file."""
        raise NotImplementedError

    @classmethod
    def load(cls: type[Bank], path: str | Path) -> Bank:
        """Read a bank from a file."""
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path, repo_id: str | None = None) -> Path:
        """Write the bank into a folder as it is shared: ``bank.safetensors``, ``bank.json`` and ``README.md``.

        Args:
            folder: is created if needed.
            repo_id: name of the repository in the README (default: a placeholder).

        Raises:
            UserError: if the folder holds one of these files already, or cannot be written.
        """
        from weit_rl.core.bank_readme import bank_card

        folder = expand_home(folder)
        text = bank_card(self.card, *([repo_id] if repo_id else []))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write_error(folder, error) from error
        for name in (FILE, card_path(Path(FILE)).name, README):
            if (folder / name).exists():
                raise UserError(f"{folder / name}: exists already; choose another folder")
        write_atomically(folder / README, text.encode())
        self.save(folder / FILE)
        return folder

    def push_to_hub(self, repo_id: str, commit_message: str = "Upload a template bank", **options: Any) -> str:
        """Upload the bank to the Hugging Face hub with a model card; return the commit's address.

        Args:
            repo_id: ``USER/NAME``; the repository is created if needed.
            commit_message: message of the commit (default "Upload a template bank").
            options: ``private``, ``token``, ``revision`` and ``create_pr`` of :func:`weit_rl.storage.hub.upload`.

        Raises:
            UserError: if the hub cannot be reached or refuses.
        """
        with TemporaryDirectory() as folder:
            return upload(self.save_pretrained(folder, repo_id), repo_id, commit_message, **options)

    @classmethod
    def from_pretrained(cls: type[Bank], repo_id: str, **options: Any) -> Bank:
        """Read a bank from the Hugging Face hub or a folder; only its safetensors are fetched, and no code runs.

        Args:
            repo_id: ``USER/NAME``, or a folder that :meth:`save_pretrained` wrote.
            options: ``revision``, ``token``, ``cache_dir``, ``force_download`` and ``local_files_only`` of
                huggingface_hub.

        Raises:
            UserError: as :func:`weit_rl.storage.hub.download` and :meth:`load` do.
        """
        return cls.load(download(repo_id, FILE, **options))

    from_hub = from_pretrained  # the name in version 0.1
