"""Versions of installed packages."""

from __future__ import annotations

import importlib.metadata


def find_version(package: str) -> str:
    """The installed version of a package; "checkout" for this one run from a checkout."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "checkout"
