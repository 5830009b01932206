"""The built-in audio embedding: classes, distances, padding, and its training."""

import numpy as np
import pytest
from helpers.synthetic_audio import spoken, struck, times

from benchmarks import fit_embedding
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.safetensors_io import read_arrays, write_arrays
from vssflow_jax.evaluation.metrics import common, distances, embedding

SOUNDS = ("bell", "drop", "drum", "glass", "metal", "rain", "wheel", "wood")  # logits 0 to 7


@pytest.fixture(scope="module")
def embed():
    return embedding.load()


def test_new_sounds_are_classified(embed):
    examples = [
        (kind, struck(kind, times(40 + n), 40 + n)) for kind in ("wood", "bell") for n in (0, 1)
    ]
    features, logits = embed([wave for _, wave in examples])
    assert features.shape == (4, 32)
    assert logits.shape == (4, 18)
    assert [SOUNDS[k] for k in logits[:, : len(SOUNDS)].argmax(1)] == [kind for kind, _ in examples]


def test_sounds_of_one_class_are_closer_than_of_two(embed):
    wood = embed([struck("wood", times(n), n) for n in range(6)])[0]
    more = embed([struck("wood", times(n), n) for n in range(6, 12)])[0]
    bell = embed([struck("bell", times(n), n) for n in range(6)])[0]
    assert distances.frechet(wood, more) < 0.5 * distances.frechet(wood, bell)


def test_features_do_not_depend_on_batch_or_padding(embed):
    short, long = spoken()[:20_000], struck("bell", times(0))
    alone, together = embed([short])[0][0], embed([long, short])[0][1]
    np.testing.assert_allclose(alone, together, atol=2e-2 * np.abs(alone).max())
    assert [part.shape for part in embed([])] == [(0, 32), (0, 18)]


def test_training_fits_a_toy_problem():
    rng = np.random.default_rng(0)
    truth = np.tile(np.eye(2, dtype=np.float32), (32, 1))
    mels = [rng.normal(-5, 0.1, (100, 64)).astype(np.float32) for _ in truth]
    for mel, row in zip(mels, truth, strict=True):
        mel[:, 40 : 50 if row[0] else 40] += 3
    params = fit_embedding.fit(mels, truth, epochs=15)
    _, logits = embedding.network(params, *embedding.pad_mels(mels))
    assert ((np.asarray(logits) > 0) == truth).mean() > 0.9


def test_classes_come_from_the_annotations():
    records = [{"meta": {"annotation": {"sound_class": "wood", "speaker": "ada"}}}, {"meta": {}}]
    assert fit_embedding.class_names(records) == ["wood", "ada"]
    assert fit_embedding.labels(records, ["ada", "ben"]).tolist() == [[1, 0], [0, 0]]


def test_other_files_are_errors(tmp_path):
    path = tmp_path / "w.safetensors"
    write_arrays(path, {"a": np.zeros(1, np.float32)})
    with pytest.raises(InputError, match="found arrays"):
        embedding.load(path)
    weights = {name: np.asarray(array) for name, array in read_arrays(embedding.BUILT_IN).items()}
    write_arrays(path, weights)
    assert embedding.load(path).hash == embedding.load().hash
    assert common.BANDS == 64
