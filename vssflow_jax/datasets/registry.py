"""The data sets by their names on the command line."""

from __future__ import annotations

from vssflow_jax.common.errors import InputError
from vssflow_jax.datasets import (
    audioset,
    avspeech,
    chem,
    greatesthits,
    grid,
    libritts,
    ljspeech,
    lrs2,
    lrs3,
    v2c,
    vctk,
    vggsound,
)
from vssflow_jax.datasets.interface import DataSet

MODULES = (
    vggsound,
    audioset,
    grid,
    lrs2,
    lrs3,
    chem,
    v2c,
    vctk,
    ljspeech,
    libritts,
    greatesthits,
    avspeech,
)
DATASETS = {module.DATASET.name: module.DATASET for module in MODULES}


def find_dataset(name: str) -> DataSet:
    """The data set of a name.

    Raises:
      InputError: there is none.
    """
    if name not in DATASETS:
        raise InputError(f"found data set {name!r}, expected one of {', '.join(DATASETS)}")
    return DATASETS[name]
