"""AV-HuBERT in parts, as processors compute it."""

import jax
import numpy as np
import pytest
from helpers import tiny_encoders

from vssflow_jax.encoders.avhubert import CROP, Avhubert, apply_in_parts


@pytest.mark.parametrize("shape", [(1, 50), (2, 13), (3, 27)])
def test_parts_give_the_output_of_all_at_once(shape):
    config = tiny_encoders.SMALL["lips"]
    model, params = Avhubert(config), tiny_encoders.random_params("lips", config)
    crops = np.random.default_rng(0).standard_normal((*shape, CROP, CROP), np.float32)
    mask = np.arange(shape[1]) < [[shape[1] - 3 * clip] for clip in range(shape[0])]
    crops *= mask[..., None, None]
    expected = jax.jit(model.apply)({"params": params}, crops, mask)
    parts = jax.jit(lambda *inputs: apply_in_parts(model, *inputs))(params, crops, mask)
    np.testing.assert_allclose(parts, expected, atol=1e-5)
