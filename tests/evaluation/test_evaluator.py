"""Which examples are scored, and the codec floor."""

import numpy as np

from vssflow_jax.codecs.interface import load_codec
from vssflow_jax.evaluation import evaluator


def test_the_first_examples_are_scored_and_random_ones_fit_the_reference_models():
    wave = np.ones(4, np.int16)
    records = [{"meta": {"id": n, "task": "sound"}, "wave": wave} for n in range(1000)]
    del records[2]["wave"]
    selected, _ = evaluator.select_examples(records, {"sound": 50}, seed=0)
    ids = [r["meta"]["id"] for r in selected["sound"]]
    assert len(set(ids)) == 50
    assert max(ids) > 800
    first, without_sound = evaluator.select_examples(records, {"sound": 5})
    assert [r["meta"]["id"] for r in first["sound"]] == [0, 1, 3, 4, 5]
    assert [skipped["id"] for skipped in without_sound["sound"]] == [2]
    assert "no ground truth sound" in without_sound["sound"][0]["reason"]


def test_a_reconstruction_does_not_depend_on_its_batch(tiny_run, monkeypatch):
    monkeypatch.setattr(evaluator, "BATCH_SIZE", 2)
    codec = load_codec(tiny_run / "codec")
    waves = [np.random.default_rng(n).normal(0, 0.1, 16_000).astype(np.float32) for n in range(3)]
    together = evaluator.reconstruct_waves(codec, waves)
    assert [len(wave) for wave in together] == [16_000] * 3
    alone = evaluator.reconstruct_waves(codec, waves[2:])
    np.testing.assert_allclose(alone[0], together[2], atol=1e-4)
    assert evaluator.reconstruct_waves(codec, []) == []
