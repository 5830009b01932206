"""Stand-ins for optional packages."""

import importlib.metadata
import sys
import types


def install(monkeypatch, module: str, **attributes) -> None:
    """Makes `module` importable with some attributes, and every package's version 1.0."""
    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**attributes))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
