"""Voices that differ, take turns, and whose sounds can be placed in time."""

import itertools

import numpy as np
import pytest

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import sentences, voices
from vssflow_jax.text import normalize, phonemes

ESPEAK = voices.load_voices("espeak")


def power_inside(spoken: voices.Utterance) -> float:
    """Share of an utterance's energy that lies in the intervals of its sounds."""
    times = np.arange(len(spoken.wave)) / conditions.SAMPLE_RATE
    inside = np.zeros(len(times), bool)
    for start, end, _ in spoken.sounds:
        inside |= (times >= start) & (times < end)
    power = spoken.wave.astype(float) ** 2
    return power[inside].sum() / power.sum()


def check_times(spoken: voices.Utterance) -> None:
    """Sounds follow one another inside the wave, and the wave's energy lies in them."""
    assert all(a[1] <= b[0] + 1e-6 for a, b in itertools.pairwise(spoken.sounds))
    assert spoken.sounds[0][0] >= 0
    assert spoken.sounds[-1][1] <= len(spoken.wave) / conditions.SAMPLE_RATE + 1e-6
    assert {symbol for *_, symbol in spoken.sounds} <= set(phonemes.IDS)
    assert power_inside(spoken) > 0.97


def test_every_letter_and_voice_of_espeak_can_be_aligned():
    for number, letter in enumerate(sentences.GRAMMAR[3]):
        words = normalize.words(f"set white with {letter} zero again")
        spoken = ESPEAK.speak(ESPEAK.voices[number % len(ESPEAK.voices)], words)
        expected = [symbol for word in phonemes.pronounce(words) for symbol in word]
        assert [symbol for *_, symbol in spoken.sounds] == expected
        assert max(b - a for a, b, _ in spoken.sounds) < 0.5
        assert len(spoken.wave) / conditions.SAMPLE_RATE < 3.2


def test_espeak_voices_are_many_and_differ():
    assert len(ESPEAK.voices) >= 8
    assert len({voice.name for voice in ESPEAK.voices}) == len(ESPEAK.voices)
    assert len({voice.settings for voice in ESPEAK.voices}) == len(ESPEAK.voices)
    assert len({voice.look for voice in ESPEAK.voices}) == len(ESPEAK.voices)


def test_an_unknown_set_and_a_folder_without_voices_are_refused(tmp_path):
    with pytest.raises(InputError, match="--voices: found 'bogus', expected one of espeak"):
        voices.load_voices("bogus")
    with pytest.raises(InputError, match=r"found no tables like af_heart\.bin"):
        voices.load_voices(f"kokoro:{tmp_path}")


class _Set:
    voices = tuple(
        voices.Voice(name=name, look=None, settings=None, held_out=name in "xy", share=share)
        for name, share in (("a", 4), ("b", 1), ("c", 1), ("x", 1), ("y", 1))
    )


def test_held_out_voices_never_train_and_shares_are_kept():
    train = [voice.name for voice in voices.rotate_voices(_Set, "train")]
    assert sorted(train) == ["a", "a", "a", "a", "b", "c"]
    assert max(len(list(run)) for _, run in itertools.groupby(train)) < 3
    test = [voice.name for voice in voices.rotate_voices(_Set, "test")]
    assert {"x", "y", "a", "b", "c"} == set(test)
    assert sum(name in "xy" for name in test) * 2 == len(test)


# ---- hibari -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hibari():
    pytest.importorskip("hibari")
    return voices.load_voices("hibari")


SENTENCE = normalize.words("The judge said that five zebras moved over the measured bridge.")


def test_hibari_has_a_natural_voice_and_derived_ones_of_all_pitches_some_held_out(hibari):
    own, *derived = hibari.voices
    assert own.settings is None and own.share > 1
    for held_out, least in ((False, 60), (True, 12)):
        timbres = [voice.settings for voice in derived if voice.held_out == held_out]
        pitches = sorted(timbre.pitch for timbre in timbres)
        assert len(timbres) >= least
        assert pitches[0] < 90 and pitches[-1] > 240
        assert max(b / a for a, b in itertools.pairwise(pitches)) < 1.15
        tracts = [timbre.tract for timbre in timbres]
        assert min(tracts) < 0.85 and max(tracts) > 1.08


def test_a_number_of_hibari_s_speakers_are_the_first_of_all(hibari):
    few = voices.load_voices("hibari:12")
    assert few.voices == hibari.voices[:13]
    assert sum(voice.held_out for voice in few.voices) == 2
    with pytest.raises(InputError, match="hibari:900: expected 0 to 144"):
        voices.load_voices("hibari:900")
    with pytest.raises(InputError, match="found 'hibari:few', expected one of"):
        voices.load_voices("hibari:few")


def test_hibari_s_voices_say_the_text_s_phonemes_in_time(hibari):
    expected = [symbol for word in phonemes.pronounce(SENTENCE) for symbol in word]
    for voice in hibari.voices[:4]:
        spoken = hibari.speak(voice, SENTENCE)
        check_times(spoken)
        assert [symbol for *_, symbol in spoken.sounds] == expected


def count_crossings(spoken: voices.Utterance, shift: float) -> float:
    """Share of samples at which the wave crosses zero, in fricatives `shift` seconds later."""
    parts = [
        spoken.wave[round((start + shift) * 16_000) : round((end + shift) * 16_000)]
        for start, end, symbol in spoken.sounds
        if symbol in ("S", "SH", "Z", "JH", "F")
    ]
    return float(np.mean(np.diff(np.sign(np.concatenate(parts))) != 0))


def test_fricatives_are_where_they_are_said(hibari):
    for voice in (hibari.voices[0], hibari.voices[3], hibari.voices[8]):
        spoken = hibari.speak(voice, SENTENCE)
        there = count_crossings(spoken, 0.0)
        assert there > 1.15 * max(count_crossings(spoken, shift) for shift in (-0.05, 0.05))


def measure_pitch(wave: np.ndarray) -> float:
    """Median pitch of the voiced frames, Hz, by autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::512]
    pitches = []
    for frame in frames[np.square(frames).mean(1) > 0.1 * np.square(frames).mean(1).max()]:
        power = np.abs(np.fft.rfft(frame - frame.mean(), 2048)) ** 2
        correlation = np.fft.irfft(power)[:400] / power.mean() / 2
        lag = int(correlation[50:230].argmax()) + 50  # 70 to 320 Hz
        if correlation[lag] > 0.3 * correlation[0]:
            pitches.append(conditions.SAMPLE_RATE / lag)
    return float(np.median(pitches))


def test_derived_speakers_have_the_pitch_that_they_are_asked_for(hibari):
    speakers = sorted(hibari.voices[1:], key=lambda voice: voice.settings.pitch)
    for voice in (speakers[5], speakers[70], speakers[-5]):
        pitch = measure_pitch(hibari.speak(voice, SENTENCE).wave)
        assert abs(np.log2(pitch / voice.settings.pitch)) < 0.35


def test_hibari_s_wave_is_as_long_as_its_tokens_say(hibari):
    from vssflow_jax.corpus import hibari_voices, misaki

    strings = misaki.phonemize(SENTENCE)
    spectra = hibari_voices.predict_spectra(misaki.join_words(strings), 1.0)
    wave = spectra.synthesize(np.random.default_rng(0))
    seconds = spectra.frames.sum() * hibari_voices.FRAME_SECONDS
    assert len(wave) / 24_000 == pytest.approx(seconds, abs=1e-6)


def test_tempo_and_seed_do_what_they_say(hibari):
    voice = hibari.voices[1]
    usual, fast = hibari.speak(voice, SENTENCE), hibari.speak(voice, SENTENCE, tempo=1.3)
    assert 1.15 < len(usual.wave) / len(fast.wave) < 1.6
    np.testing.assert_array_equal(usual.wave, hibari.speak(voice, SENTENCE).wave)
    other = hibari.speak(voice, SENTENCE, seed=1)
    assert usual.sounds == other.sounds and not np.array_equal(usual.wave, other.wave)
