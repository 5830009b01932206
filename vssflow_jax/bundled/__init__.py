"""Models that come with the package: folders that `vssflow_jax.export` wrote, by name."""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.json"  # its presence makes a folder a model


def names() -> list[str]:
    """Names of the models that are there."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob(f"*/{CONFIG}"))


def folder(name: str) -> Path:
    """Where the model of this name is, if there is one."""
    return Path(__file__).parent / name


def locate(workdir: str | Path) -> Path:
    """The folder `workdir` if it is a run's or a model's, else that of the model with this name."""
    there = (Path(workdir) / CONFIG).exists() or str(workdir) not in names()
    return Path(workdir) if there else folder(str(workdir))
