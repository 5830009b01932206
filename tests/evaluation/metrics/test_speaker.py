"""Similarity of voices."""

import numpy as np
from helpers.synthetic_audio import spoken

from vssflow_jax.evaluation.metrics import speaker
from vssflow_jax.features.speaker import embed_speaker


def test_a_voice_is_most_similar_to_itself():
    reference = embed_speaker(spoken("lay green in b two soon", "ada"))
    own = speaker.similarity(spoken(name="ada"), reference)
    assert own > speaker.similarity(spoken(name="ben"), reference)
    assert speaker.similarity(spoken("lay green in b two soon", "ada"), reference) > 0.99
    assert speaker.similarity(np.zeros(16_000, np.float32), reference) is None
    assert speaker.similarity(np.zeros(0, np.float32), reference) is None
