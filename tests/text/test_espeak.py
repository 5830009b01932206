import time

import numpy as np
import pytest

from vssflow_jax.text import espeak
from vssflow_jax.text.phonemes import IDS

SENTENCE = ["place", "blue", "at", "f", "nine", "now"]


@pytest.mark.parametrize(
    ("word", "symbols"),
    [
        ("hello", "HH AH0 L OW1"),
        ("strength", "S T R EH1 NG TH"),
        ("bird", "B ER1 D"),
        ("fire", "F AY1 ER0"),
        ("chair", "CH EH1 R"),
        ("measure", "M EH1 ZH ER0"),
        ("button", "B AH1 T AH0 N"),
        ("rhythm", "R IH1 DH AH0 M"),
        ("boy", "B OY1"),
    ],
)
def test_pronounces_known_words(word, symbols):
    assert espeak.pronounce(word) == tuple(symbols.split())


def test_invented_words_stay_in_the_inventory():
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    for _ in range(200):
        word = "".join(rng.choice(letters, rng.integers(2, 10)))
        symbols = espeak.pronounce(word)
        assert symbols, word
        assert set(symbols) <= set(IDS), (word, symbols)


def test_nothing_to_say_is_an_empty_pronunciation():
    assert espeak.pronounce("") == ()
    assert espeak.to_arpabet("_:") == ()


def test_the_same_words_sound_the_same_whatever_was_said_before():
    first = espeak.speak(SENTENCE, "en-us+f5", 140)
    espeak.speak(["something", "else"], "gmw/en+m3", 200, 80)
    espeak.pronounce("rhododendron")
    time.sleep(1.1)  # its noise would be seeded with the second of the day
    again = espeak.speak(SENTENCE, "en-us+f5", 140)
    np.testing.assert_array_equal(first.wave, again.wave)
    assert first.phones == again.phones


def test_phones_go_forward_and_every_word_has_some():
    speech = espeak.speak(SENTENCE)
    length = len(speech.wave) / espeak.SAMPLE_RATE
    starts = [phone.start for phone in speech.phones]
    assert starts == sorted(starts)
    assert all(0 <= p.start < p.end <= length for p in speech.phones)
    assert sorted({p.word for p in speech.phones}) == list(range(len(SENTENCE)))


def test_rate_and_pitch_act():
    slow, fast = (espeak.speak(SENTENCE, rate=rate) for rate in (110, 200))
    assert len(slow.wave) > 1.4 * len(fast.wave)
    low, high = (_pitch(espeak.speak(SENTENCE, pitch=pitch).wave) for pitch in (20, 90))
    assert high > 1.2 * low


def _pitch(wave):
    """Fundamental frequency of the loudest 80 ms, by autocorrelation."""
    size = round(0.08 * espeak.SAMPLE_RATE)
    energy = np.convolve(wave**2, np.ones(size), "valid")
    part = wave[np.argmax(energy) :][:size]
    curve = np.correlate(part, part, "full")[size - 1 :]
    shortest, longest = espeak.SAMPLE_RATE // 400, espeak.SAMPLE_RATE // 60
    return espeak.SAMPLE_RATE / (shortest + np.argmax(curve[shortest:longest]))


def test_unknown_voice():
    with pytest.raises(ValueError, match="no voice 'xx-nowhere'"):
        espeak.speak(SENTENCE, "xx-nowhere")
