"""Bundled models: folders in the package, written by `vssflow_jax.export`, by name."""

from __future__ import annotations

from pathlib import Path

from vssflow_jax.common import hub
from vssflow_jax.common.files import to_path

CONFIG = "config.json"  # its presence makes a folder a model
DEFAULT = "default"  # the name under which commands take DEFAULT_MODEL
DEFAULT_MODEL = "natural_distilled"
WORKDIR_HELP = (
    f"Folder of a run, or the name of a bundled model, of which {DEFAULT} is {DEFAULT_MODEL}; "
    f"{hub.HELP}."
)


def list_models() -> list[str]:
    """Names of the bundled models."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob(f"*/{CONFIG}"))


def model_folder(name: str) -> Path:
    """The folder of a bundled model; DEFAULT is DEFAULT_MODEL."""
    return Path(__file__).parent / (DEFAULT_MODEL if name == DEFAULT else name)


def find_workdir(workdir: str | Path) -> Path:
    """The folder `workdir`, or that of the bundled model, or the model on the hub, of this name.

    A folder with a run or a model comes before a bundled model of the same name.

    Raises:
      InputError: a name on the hub, which has no such model.
    """
    name = str(workdir)
    is_run = (to_path(workdir) / CONFIG).exists()
    is_bundled = name == DEFAULT or name in list_models()
    return model_folder(name) if is_bundled and not is_run else hub.find_path(workdir)
