"""Voices that differ, and whose sounds can be aligned."""

from vssflow_jax import conditions
from vssflow_jax.corpus import sentences, voices


def test_every_letter_and_voice_can_be_aligned():
    for number, letter in enumerate(sentences.GRAMMAR[sentences.LETTER_PLACE]):
        words = ["set", "white", "with", letter, "zero", "again"]
        spoken = voices.speak(voices.VOICES[number % len(voices.VOICES)], words)
        assert len(spoken.sounds) == sum(map(len, voices.pronounce_sentence(words)))
        assert max(b - a for a, b, _ in spoken.sounds) < 0.5
        assert len(spoken.wave) / conditions.SAMPLE_RATE < 3.2


def test_voices_are_many_and_differ():
    assert len(voices.VOICES) >= 8
    assert len({voice.name for voice in voices.VOICES}) == len(voices.VOICES)
    assert len({(v.base, v.pitch, v.scale) for v in voices.VOICES}) == len(voices.VOICES)
    assert len({voice.look for voice in voices.VOICES}) == len(voices.VOICES)
