"""Bundled models: by name, by default, and their size."""

import numpy as np
import pytest

from vssflow_jax import Generator, bundled
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.scoring import EvaluationOptions, evaluate
from vssflow_jax.training import checkpoint


def test_a_run_comes_before_a_bundled_model_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (bundled.DEFAULT, bundled.DEFAULT_MODEL):
        (tmp_path / name).mkdir()  # any folder, no run
        assert bundled.find_workdir(name) == bundled.model_folder(bundled.DEFAULT_MODEL)
        (tmp_path / name / bundled.CONFIG).write_text("{}")
        assert bundled.find_workdir(name).samefile(tmp_path / name)
    assert bundled.find_workdir("runs/mine").parts == ("runs", "mine")


def test_the_default_model_is_bundled():
    assert bundled.DEFAULT_MODEL in bundled.list_models()
    assert bundled.DEFAULT not in bundled.list_models()
    assert bundled.model_folder(bundled.DEFAULT) == bundled.model_folder(bundled.DEFAULT_MODEL)


def test_an_unknown_model_is_an_error():
    with pytest.raises(InputError, match=r"found 'large', expected one of \['default', "):
        Generator.from_pretrained("large")


@pytest.mark.parametrize("name", [bundled.DEFAULT, *bundled.list_models()])
def test_evaluating_a_bundled_model_needs_shards_and_a_folder(name, tiny_run, tmp_path):
    with pytest.raises(InputError, match="--shards: found nothing"):
        evaluate(EvaluationOptions(workdir=name, out=tmp_path))
    with pytest.raises(InputError, match="--out: found nothing"):
        evaluate(EvaluationOptions(workdir=name, shards=tiny_run / "shards"))


@pytest.mark.parametrize("name", bundled.list_models())
def test_every_bundled_model_generates(name):
    generator = Generator.from_pretrained(name)
    assert (bundled.model_folder(name) / checkpoint.WEIGHTS_FILE).stat().st_size < 40e6
    assert np.isfinite(generator(text="bin red by k two soon").wave).all()
