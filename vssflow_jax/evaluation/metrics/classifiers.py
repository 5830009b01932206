"""The classifier that judges use for names: of sound classes, of speakers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits


def fit(features: Sequence[np.ndarray], names: Sequence[str]) -> Pipeline | None:
    """A linear discriminant with a shrunk covariance on standardised features.

    Source: Ledoit and Wolf (2004), A well-conditioned estimator for large covariance matrices.

    Args:
      features: one float [F] an example.
      names: what each is.

    Returns:
      A model whose `predict([features])` gives names; None where there are fewer than two
      names, or no more examples than names.
    """
    if not 2 <= len(set(names)) < len(names):
        return None
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    with threadpool_limits(1):
        return make_pipeline(StandardScaler(), discriminant).fit(np.array(features), list(names))
