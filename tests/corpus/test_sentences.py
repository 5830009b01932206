"""Sentences of the splits."""

import numpy as np

from vssflow_jax.corpus import sentences


def test_no_sentence_is_in_two_splits():
    said = {}
    for split in ("train", "valid", "test"):
        rng = np.random.default_rng(0)
        said[split] = {tuple(sentences.draw_sentence(split, rng)) for _ in range(3000)}
        for words in said[split]:
            assert all(word in slot for word, slot in zip(words, sentences.GRAMMAR, strict=True))
    assert not said["train"] & said["test"]
    assert not said["train"] & said["valid"]
    assert not said["valid"] & said["test"]
