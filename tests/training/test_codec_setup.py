"""The codec of a run."""

import numpy as np
import pytest

from vssflow_jax.codecs.interface import hash_codec, load_codec
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.training import codec_setup


def test_a_run_takes_the_codec_that_its_config_names_and_keeps_it(tiny_run, tmp_path):
    config = load_recipe("quickstart")
    config.codec.folder = str(tiny_run / "codec")
    taken = codec_setup.ensure_codec(config, (), tmp_path)
    assert hash_codec(taken) == hash_codec(load_codec(tiny_run / "codec"))
    config.codec.folder = str(tmp_path / "elsewhere")
    assert hash_codec(codec_setup.ensure_codec(config, (), tmp_path)) == hash_codec(
        taken
    )  # it keeps its own
    with pytest.raises(InputError, match="elsewhere"):
        codec_setup.ensure_codec(config, (), tmp_path / "new")


def test_a_fitted_codec_decodes_with_the_iterations_of_the_config(tmp_path):
    config = load_recipe("quickstart")
    config.codec.update(iterations=5, channels=8)
    waves = np.random.default_rng(0).integers(-9999, 9999, (4, 64_000)).astype(np.int16)
    records = [{"wave": wave} for wave in waves]
    assert codec_setup.ensure_codec(config, records, tmp_path).iterations == 5
