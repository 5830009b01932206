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


def make_record(name, voice, **fields):
    annotation = {"speaker": voice} if voice else {}
    return {"meta": {"id": name, "text": "x", "annotation": annotation}, **fields}


def test_the_reference_of_an_example_is_another_one_in_the_same_voice():
    records = [make_record("a1", "ada"), make_record("b1", "ben"), make_record("a2", "ada")]
    records += [make_record("none", None), {"meta": {"id": "sound"}}]
    waves = [
        spoken(name="ada"),
        spoken(name="ben"),
        spoken("lay green in b two soon", "ada"),
        spoken(),
        spoken(),
    ]
    references = speaker.VoiceReferences.from_examples(records, waves, "built-in")
    assert set(references.vectors) == {"a1", "a2"}  # ben speaks once, the others have no voice
    scores = references.score([record["meta"]["id"] for record in records], waves)
    assert set(scores) == {"a1", "a2"}
    own = scores["a1"]
    assert own["dvector_similarity"] > own["dvector_other_voice"] + 0.1
    assert own["dvector_similarity"] < 0.999
    scores = references.score(["a1", "a2", "sound"], [waves[2], 0 * waves[0], waves[0]])
    assert scores["a1"]["dvector_similarity"] > 0.999
    assert scores["a2"]["dvector_similarity"] is None


def test_the_reference_is_the_recording_where_the_shards_have_its_dvector():
    reference = speaker.embed_voice(spoken("bin red by x six please"))
    records = [make_record("a1", None, speaker=reference)]
    references = speaker.VoiceReferences.from_examples(records, [spoken()], speaker.DVECTOR)
    scores = references.score(["a1"], [spoken("bin red by x six please")])["a1"]
    assert scores["dvector_similarity"] > 0.999
    assert scores["dvector_other_voice"] is None
    assert speaker.uses_dvector("bundled")
    assert not speaker.uses_dvector("built-in")
