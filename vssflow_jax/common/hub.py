"""Files on the Hugging Face hub by name, `ORG/NAME@REVISION`, downloaded once; and uploads.

A name is that of huggingface_hub's file systems: `datasets/` in front means a data set, and a path
behind the revision one file or folder of the repository. The revision is a commit, a tag or a
branch; only a commit always means the same files. Downloads are in the hub's own cache (HF_HOME),
where huggingface_hub finds them without a network; HF_ENDPOINT names another hub, HF_TOKEN who
asks.
"""

from __future__ import annotations

import functools
import os
import re
import types
import urllib.parse
from pathlib import Path, PurePosixPath

from vssflow_jax.common.errors import InputError, one_line
from vssflow_jax.common.files import is_remote, to_path

_NAME = re.compile(r"(datasets/)?([\w.-]+/[\w.-]+)@([\w.%-]+)(?:/(.*))?")
MODEL, DATASET = "model", "dataset"  # kinds of repositories
HELP = "a name on the hub is ORG/NAME@REVISION"
MAX_REASON = 160  # letters of what the hub answers


def is_name(path: str | os.PathLike) -> bool:
    """Whether a path is a name on the hub, and not one of what exists on this machine."""
    return bool(_match_name(path))


def _match_name(path: str | os.PathLike) -> re.Match | None:
    match = None if is_remote(path) else _NAME.fullmatch(os.fspath(path).rstrip("/"))
    return None if match is None or Path(path).exists() else match


def find_path(path: str | os.PathLike, kind: str = MODEL) -> Path:
    """The path itself, or where the downloaded files are if it is a name on the hub.

    What exists under that name on this machine comes first.

    Args:
      path: a path, or ORG/NAME@REVISION with or without a path in the repository.
      kind: of repository, unless the name begins with `datasets/`.

    Raises:
      InputError: huggingface_hub is missing, or the hub has no such files or cannot be reached.
    """
    match = _match_name(path)
    if match is None:
        return to_path(path)
    is_dataset, repository, revision, inner = match.groups()
    if ".." in PurePosixPath(inner or "").parts:
        raise InputError(f"{path}: found '..', expected a path in the repository")
    kind = DATASET if is_dataset else kind
    return _download(repository, urllib.parse.unquote(revision), kind, (inner or "").strip("/"))


@functools.cache
def _download(repository: str, revision: str, kind: str, inner: str) -> Path:
    """The folder or file of a repository in the hub's cache."""
    name = f"{repository}@{revision}"
    hub = _import_hub(name)
    try:
        snapshot = hub.snapshot_download(
            repository,
            repo_type=kind,
            revision=revision,
            allow_patterns=[inner, f"{inner}/*"] if inner else None,
        )
    except Exception as error:  # of many libraries, depending on what is wrong with the network
        reason = one_line(error)[:MAX_REASON]
        raise InputError(
            f"{name}: found neither a path of this name nor a {kind} on the Hugging Face hub: "
            f"{reason}"
        ) from None
    return Path(snapshot, inner)


def check_push(name: str) -> tuple[str, str | None]:
    """The repository and the branch, if there is one, of ORG/NAME or ORG/NAME@BRANCH.

    Raises:
      InputError: it is neither, or huggingface_hub is missing.
    """
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w.-]+))?", name)
    if match is None:
        raise InputError(f"--push: found {name!r}, expected ORG/NAME or ORG/NAME@BRANCH")
    _import_hub(f"--push={name}")
    return match[1], match[2]


def push_folder(folder: str | os.PathLike, name: str, message: str) -> str:
    """Uploads a folder's files to a model repository in one commit; makes the repository if needed.

    Args:
      folder: the folder.
      name: ORG/NAME, with @BRANCH for another than the main one, which is made if needed.
      message: of the commit.

    Returns:
      The commit's name, ORG/NAME@REVISION.

    Raises:
      InputError: no such name, or what the hub says.
    """
    repository, branch = check_push(name)
    api = _import_hub(f"--push={name}").HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        if branch:
            api.create_branch(repository, branch=branch, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, revision=branch, commit_message=message
        )
    except Exception as error:
        reason = one_line(error)[:MAX_REASON]
        raise InputError(f"--push={name}: the Hugging Face hub says: {reason}") from None
    return f"{repository}@{commit.oid}"


def _import_hub(name: str) -> types.ModuleType:
    try:
        import huggingface_hub
    except ImportError:
        raise InputError(
            f"{name}: found no package huggingface_hub, expected it installed: "
            'pip install "vssflow_jax[hub]"'
        ) from None
    return huggingface_hub
