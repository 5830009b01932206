import itertools

import numpy as np
import pytest

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import voices
from vssflow_jax.data import manifest
from vssflow_jax.features import speaker
from vssflow_jax.preparation import examples
from vssflow_jax.text import aligner, alignment, phonemes
from vssflow_jax.text.durations import measure_durations
from vssflow_jax.text.grid import phonemes_to_frames

pytest.importorskip("pocketsphinx")
SENTENCES = (
    "place blue by c two soon",
    "set white in g nine again",
    "bin green at z five please",
    "lay red with m seven now",
)


@pytest.fixture(scope="module")
def spoken():
    """Sentences by four voices within 3.5 s: wave, words, true intervals."""
    made = []
    for k, sentence in enumerate(SENTENCES):
        words = sentence.split()
        wave, sounds = voices.speak(voices.VOICES[k], words)
        start = 0.4 + 0.1 * k
        padded = np.zeros(56_000, np.float32)
        padded[round(start * 16_000) :][: len(wave)] = 0.5 * wave
        truth = [alignment.Interval(a + start, b + start, s) for a, b, s in sounds]
        made.append((padded, words, truth))
    return made


def errors(found, truth):
    """Absolute errors of all starts and ends, seconds."""
    assert [i.symbol for i in found] == [i.symbol for i in truth]
    return np.abs(np.array([i[:2] for i in found]) - [i[:2] for i in truth]).ravel()


def test_boundaries_are_heard_far_better_than_predicted(spoken):
    means = measure_durations([truth for _, _, truth in spoken])
    durations = {name: seconds for name, seconds in means.items() if " " not in name}
    heard, predicted = [], []
    for wave, words, truth in spoken:
        heard.append(errors(aligner.align_words(wave, words), truth))
        symbols = [i.symbol for i in truth]
        spread = alignment.place_phonemes(symbols, *speaker.find_voiced_span(wave), durations)
        predicted.append(errors(spread, truth))
    heard, predicted = np.concatenate(heard), np.concatenate(predicted)
    assert np.median(heard) < 0.02 and np.quantile(heard, 0.95) < 0.12
    assert np.median(heard) < np.median(predicted) / 2


def test_an_alignment_depends_on_nothing_but_its_sound_and_words(spoken):
    first = aligner.align_words(*spoken[0][:2])
    aligner.align_words(*spoken[1][:2])
    assert aligner.align_words(*spoken[0][:2]) == first
    assert all(a.end <= b.start + 1e-9 for a, b in itertools.pairwise(first))


def test_words_outside_the_dictionary_and_stress_are_kept():
    words = ["jax", "kubernetes"]
    wave = voices.speak(voices.VOICES[0], [*words, "now", "at", "b", "two"]).wave
    found = aligner.align_words(wave, [*words, "now", "at", "b", "two"])
    expected = phonemes.pronounce(words)
    assert tuple(i.symbol for i in found[: len(expected[0])]) == expected[0]
    assert "EH1" in [i.symbol for i in found]


def test_words_that_do_not_fit_the_sound_are_an_error(spoken):
    with pytest.raises(InputError, match="found no way to say 'place blue"):
        aligner.align_words(spoken[0][0][:8000], SENTENCES[0].split() * 2)


def rows(tmp_path, wave, text):
    media.write_wav(tmp_path / "a.wav", wave, 16_000)
    table = f'id,audio,text,split\na,a.wav,"{text}",train\n'
    (tmp_path / "clips.csv").write_text(table)
    return manifest.read_manifest(tmp_path / "clips.csv")


def test_a_clip_without_an_alignment_is_aligned(tmp_path, spoken):
    wave, words, truth = spoken[0]
    (row,) = rows(tmp_path, wave, " ".join(words))
    (record,) = examples.make_records(row, None, examples.ExampleSettings())
    assert record["meta"]["times"] == "heard"
    times = np.array([interval[:2] for interval in record["meta"]["alignment"]])
    assert np.median(np.abs(times - [i[:2] for i in truth])) < 0.02
    expected = phonemes_to_frames(truth, len(record["phonemes"]))
    assert np.mean(record["phonemes"] == expected) > 0.8


@pytest.mark.parametrize("installed", [True, False])
def test_what_cannot_be_aligned_is_predicted_and_says_so(tmp_path, monkeypatch, installed):
    wave = np.random.default_rng(0).normal(0, 0.2, 32_000).astype(np.float32)
    if not installed:
        monkeypatch.setattr(aligner, "is_available", lambda: False)
    text = "the morning train was late because of heavy snow " + "and rain" * (
        1 if installed else 0
    )
    (row,) = rows(tmp_path, wave, text.strip())
    (record,) = examples.make_records(row, None, examples.ExampleSettings())
    assert record["meta"]["times"] == "predicted" and "alignment" not in record["meta"]
    assert record["meta"]["times_note"].startswith("aligner: found" if installed else "aligner: P")
    assert record["phonemes"].any()
