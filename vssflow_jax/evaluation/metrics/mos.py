"""Predicted mean opinion scores (MOS) of speech, 1 (bad) to 5 (excellent), by optional packages."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import io
import sys
from collections.abc import Callable, Sequence

import numpy as np

from vssflow_jax.common.errors import InputError, one_line

SAMPLE_RATE = 16_000


@dataclasses.dataclass(frozen=True)
class MosPredictor:
    """A network that predicts a mean opinion score.

    Attributes:
      name: its key in metrics.json.
      package: name and version, for the protocol.
      predict: float32 [n] at 16 kHz, within [-1, 1], to a score.
    """

    name: str
    package: str
    predict: Callable[[np.ndarray], float]


def _dnsmos() -> Callable[[np.ndarray], float]:
    """DNSMOS P.835, overall quality (Reddy et al. 2022); the wheel carries its networks."""
    module = importlib.import_module("speechmos.dnsmos")
    return lambda wave: float(module.run(np.clip(wave, -1, 1), SAMPLE_RATE)["ovrl_mos"])


def _distillmos() -> Callable[[np.ndarray], float]:
    """DistillMOS (Stahl and Gamper 2025), naturalness; the wheel carries its network."""
    torch, module = importlib.import_module("torch"), importlib.import_module("distillmos")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights are
        model = module.ConvTransformerSQAModel().eval()

    def predict(wave: np.ndarray) -> float:
        with torch.inference_mode():
            return float(model(torch.from_numpy(np.float32(wave))[None]))

    return predict


def _utmos() -> Callable[[np.ndarray], float]:
    """UTMOS (Saeki et al. 2022); the package downloads its network at the first use."""
    torch, module = importlib.import_module("torch"), importlib.import_module("utmos")
    model = module.Score()
    return lambda wave: float(model.calculate_wav(torch.from_numpy(wave)[None], SAMPLE_RATE))


PREDICTORS = {
    "dnsmos": ("speechmos", _dnsmos),
    "distillmos": ("distillmos", _distillmos),
    "utmos": ("utmos", _utmos),
}
HELP = "Predicted mean opinion scores: some of dnsmos, distillmos, utmos, with commas."


def load(spec: str = "") -> list[MosPredictor]:
    """Loads the predictors of a flag: names with commas; "" for none.

    Those whose package is not installed are left out, with a line on stderr.

    Raises:
      InputError: an unknown name, or one whose network does not load.
    """
    predictors = []
    for name in (name for name in spec.split(",") if name):
        if name not in PREDICTORS:
            raise InputError(f"--mos: found {name!r}, expected some of {sorted(PREDICTORS)}")
        package, load_predictor = PREDICTORS[name]
        try:
            version = importlib.metadata.version(package)
            predictors.append(MosPredictor(name, f"{package} {version}", load_predictor()))
        except ImportError as error:
            print(
                f"note: --mos={name} is left out: {one_line(error)} (pip install {package})",
                file=sys.stderr,
            )
        except OSError as error:
            raise InputError(f"--mos={name}: {one_line(error)}; expected its network") from None
    return predictors


def predict_scores(predictors: Sequence[MosPredictor], wave: np.ndarray) -> dict[str, float]:
    """The score of each predictor for a wave, float32 [n] at 16 kHz; none for an empty wave."""
    return {one.name: one.predict(wave) for one in predictors} if len(wave) else {}
