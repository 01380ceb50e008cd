"""Upload and download for the Hugging Face hub; options are named as in huggingface_hub, transformers and diffusers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home

SCHEME = "hf:"  # marks USER/NAME on the hub in options that also take a path


def upload(
    folder: str | Path,
    repo_id: str,
    commit_message: str,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> str:
    """Upload all files of a folder to a repository, creating it if needed; return the commit's address.

    Args:
        folder: the folder.
        repo_id: ``USER/NAME``.
        commit_message: message of the commit.
        private: whether a new repository is private (default None: the account's default).
        token: access token (default: that of ``hf auth login``).
        revision: branch (default: the main one).
        create_pr: whether to open a pull request instead (default False).

    Raises:
        UserError: if the hub cannot be reached or refuses.
    """
    with reached(repo_id) as hub:
        api = hub.HfApi(token=token, library_name="weit_rl")
        name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        more = {"commit_message": commit_message, "revision": revision, "create_pr": create_pr}
        return str(api.upload_folder(repo_id=name, folder_path=folder, **more))


def download(repo_id: str, filename: str, **options: Any) -> Path:
    """Return the local path of one file of a repository, downloading it if needed, or of a local folder.

    Args:
        repo_id: ``USER/NAME``, or the path of a folder.
        filename: name of the file in it.
        options: ``revision``, ``token``, ``cache_dir``, ``force_download`` and ``local_files_only`` of huggingface_hub.

    Raises:
        UserError: if the repository, folder or file does not exist, or the hub cannot be reached.
    """
    local = expand_home(repo_id)
    if local.is_dir():
        return local / filename
    with reached(repo_id) as hub:
        return Path(hub.hf_hub_download(repo_id, filename, library_name="weit_rl", **options))


@contextmanager
def reached(repo_id: str) -> Iterator[Any]:
    """Yield the huggingface_hub library, and turn its many errors into one line.

    Raises:
        UserError: if the library is missing, or the hub cannot be reached or refuses.
    """
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise UserError(f"{repo_id}: the hub needs huggingface_hub ({error}): pip install 'weit_rl[hub]'") from error
    # the base classes include what the HTTP client raises if no server answers
    failures: tuple[Any, ...] = (OSError, HFValidationError, EntryNotFoundError, *HfHubHTTPError.__bases__)
    try:
        yield huggingface_hub
    except failures as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"{repo_id}: no such folder here, and no such repository on the hub that you can read ({why})"
        ) from error
