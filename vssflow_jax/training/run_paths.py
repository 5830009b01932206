"""The path of a run's shards in its config.json, valid after the run's folder has moved."""

from __future__ import annotations

import os
from pathlib import Path

from vssflow_jax.common import hub
from vssflow_jax.common.files import is_remote, to_path
from vssflow_jax.data.shards import DATASET


def portable_path(workdir: str | Path, folder: str | Path) -> str:
    """The path to store: relative to the run's folder if it is inside, else absolute.

    A name on the hub stays.
    """
    if hub.is_name(folder):
        return str(folder)
    path, root = map(absolute, (folder, workdir))
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def absolute(path: str | Path) -> Path:
    """The path from the root on, links as they are; one in a bucket starts there."""
    return to_path(path if is_remote(path) else os.path.abspath(path))


def find_shards(workdir: str | Path, stored: str) -> str:
    """The folder of shards that a run's config.json means.

    Configs of older runs have paths as they were typed: those of shards inside the run's folder
    point to its old place after a move. The stored path itself if there are no shards anywhere.

    Args:
      workdir: the run's folder.
      stored: as `portable_path` or an older run has written it; "": none.
    """
    if not stored:
        return ""
    typed = to_path(stored)
    inside, beside = to_path(workdir) / stored, to_path(workdir) / typed.name
    moved = [beside] if beside.name == "shards" else []
    candidates = [typed, *moved] if typed.is_absolute() else [inside, *moved, typed]
    return str(next((path for path in candidates if (path / DATASET).is_file()), typed))
