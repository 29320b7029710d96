"""Publishing an export on the Hugging Face hub, without questions and without surprises."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils._validators import validate_repo_id

from distill.models.loading import first_line
from distill.types import UserError


def check_repository(repository: str) -> None:
    """Check what can be checked of a push without the network.

    Raises:
        UserError: If the name is no ``owner/name``, or there is no token to log in with.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"--push_to_hub {repository}: {first_line(error)}") from error
    if "/" not in repository:
        raise UserError(f"--push_to_hub {repository}: name the owner too, as in owner/{repository}")
    if get_token() is None:
        raise UserError(f"--push_to_hub {repository}: no token to log in with; set HF_TOKEN or run: hf auth login")


def push_folder(folder: Path, repository: str, private: bool = True) -> str:
    """Upload a folder to a model repository, which is made when missing; return its address.

    The files go up as one commit, so that the repository never holds half an export.

    Args:
        folder: What to upload.
        repository: ``owner/name``.
        private: Whether the repository is to be private. An existing public one is then left alone.

    Raises:
        UserError: If the hub cannot be reached, refuses, or the repository is public against the wish.
    """
    check_repository(repository)
    api = HfApi()
    try:
        is_against_wish = private and _is_public(api, repository)
        if not is_against_wish:
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(folder_path=folder, repo_id=repository, commit_message="Add the exported student")
    except Exception as error:  # the hub's, its HTTP client's and the system's have nothing in common
        raise UserError(
            f"--push_to_hub {repository}: the hub refused or cannot be reached: {first_line(error)}; the export itself "
            f"is whole in {folder}"
        ) from error
    if is_against_wish:
        raise UserError(f"--push_to_hub {repository}: it is public already; say so with --private false")
    return f"{api.endpoint}/{repository}"


def _is_public(api: HfApi, repository: str) -> bool:
    try:
        return not api.model_info(repository).private
    except RepositoryNotFoundError:
        return False
