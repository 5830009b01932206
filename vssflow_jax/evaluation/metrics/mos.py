"""Predicted opinion scores of speech, 1 (bad) to 5 (excellent), by packages that may be there."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
from collections.abc import Callable, Sequence

import numpy as np

from vssflow_jax.common.errors import InputError

SAMPLE_RATE = 16_000


@dataclasses.dataclass(frozen=True)
class Opinion:
    """A predictor.

    Attributes:
      name: its key in metrics.json.
      package: and its version, for the protocol.
      predict: float32 [n] at 16 kHz, within [-1, 1], to a score.
    """

    name: str
    package: str
    predict: Callable[[np.ndarray], float]


def _dnsmos() -> Callable[[np.ndarray], float]:
    """DNSMOS P.835, overall quality (Reddy et al. 2022); the wheel carries its networks."""
    module = importlib.import_module("speechmos.dnsmos")
    return lambda wave: float(module.run(np.clip(wave, -1, 1), SAMPLE_RATE)["ovrl_mos"])


def _utmos() -> Callable[[np.ndarray], float]:
    """UTMOS (Saeki et al. 2022); the package fetches its network when it is first used."""
    torch, module = importlib.import_module("torch"), importlib.import_module("utmos")
    model = module.Score()
    return lambda wave: float(model.calculate_wav(torch.from_numpy(wave)[None], SAMPLE_RATE))


PREDICTORS = {"dnsmos": ("speechmos", _dnsmos), "utmos": ("utmos", _utmos)}


def load(spec: str = "") -> list[Opinion]:
    """The predictors of a flag: names with commas; "" for none.

    Raises:
      InputError: an unknown name, or one whose package or network cannot be had.
    """
    found = []
    for name in (name for name in spec.split(",") if name):
        if name not in PREDICTORS:
            raise InputError(f"--opinions: found {name!r}, expected some of {sorted(PREDICTORS)}")
        package, make = PREDICTORS[name]
        try:
            version = importlib.metadata.version(package)
            found.append(Opinion(name, f"{package} {version}", make()))
        except (ImportError, OSError) as error:
            raise InputError(
                f"--opinions={name}: {error}; expected `pip install {package}` and its network"
            ) from None
    return found


def scores(opinions: Sequence[Opinion], wave: np.ndarray) -> dict[str, float]:
    """What each predictor thinks of a wave, float32 [n] at 16 kHz; nothing about an empty one."""
    return {opinion.name: opinion.predict(wave) for opinion in opinions} if len(wave) else {}
