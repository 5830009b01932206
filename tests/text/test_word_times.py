"""Times of words, and the files that other programs read them from."""

import json

import pytest

from vssflow_jax.text import subwords
from vssflow_jax.text.alignment import Interval, read_alignment
from vssflow_jax.text.durations import DurationModel
from vssflow_jax.text.script import Utterance, align_script
from vssflow_jax.text.word_times import (
    format_json,
    format_srt,
    format_text_grid,
    time_words,
)

SCRIPT = [
    Utterance(text="Set vitamin A at 21", start=0.5, end=3.0, name="Anna"),
    Utterance(text='say "red"\nnow', start=3661.5, end=3663.25),
]


@pytest.fixture(scope="module")
def timed():
    return align_script(SCRIPT, None, {})


@pytest.fixture(scope="module")
def utterances(timed):
    return time_words(SCRIPT, timed.intervals, {})


def test_words_have_the_times_of_their_phonemes(timed, utterances):
    first, second = utterances
    assert [word.text for word in first.words] == ["set", "vitamin", "a", "at", "twenty", "one"]
    assert [word.text for word in second.words] == ["say", "red", "now"]
    assert (first.start, first.end, second.start, second.end) == (0.5, 3.0, 3661.5, 3663.25)
    assert first.words[0].phonemes[0].start == first.words[0].start == 0.5
    phonemes = [i for line in utterances for word in line.words for i in word.phonemes]
    assert phonemes == timed.intervals


def test_words_of_subwords():
    texts = ["the cat sat", "a mat", "cats sat there"] * 4
    durations = DurationModel({}, subwords.train_tokenizer(texts, 18))
    script = [Utterance(text="The cats sat", start=1.0, end=2.0)]
    timed = align_script(script, 3.0, durations)
    (line,) = time_words(script, timed.intervals, durations)
    assert [word.text for word in line.words] == ["the", "cats", "sat"]
    assert (line.start, line.end) == (1.0, 2.0)
    assert sum(len(word.phonemes) for word in line.words) == len(timed.intervals)


def test_subtitles(utterances):
    first, second = format_srt(utterances).split("\n\n")
    assert first == "1\n00:00:00,500 --> 00:00:03,000\n[Anna] Set vitamin A at 21"
    assert second == '2\n01:01:01,500 --> 01:01:03,250\nsay "red" now\n'


def test_a_text_grid_has_three_tiers_without_gaps(tmp_path, utterances, timed):
    text = format_text_grid(utterances, 4000.0)
    path = tmp_path / "out.TextGrid"
    path.write_text(text)
    read = read_alignment(path)
    assert [i.symbol for i in read] == [i.symbol for i in timed.intervals]
    for (start, end, _), expected in zip(read, timed.intervals, strict=True):
        assert (start, end) == pytest.approx(expected[:2], abs=1e-4)
    assert 'text = "say ""red"" now"' in text
    for tier in text.split('name = "')[1:]:
        starts = [line.split()[2] for line in tier.splitlines() if "        xmin" in line][1:]
        ends = [line.split()[2] for line in tier.splitlines() if "        xmax" in line][1:]
        assert starts[1:] == ends[:-1] and float(starts[0]) == 0 and float(ends[-1]) == 4000
        assert all(float(a) < float(b) for a, b in zip(starts, ends, strict=True))


def test_the_text_grid_of_a_clip_that_ends_in_a_word():
    intervals = [Interval(0.0, 0.5, "AH0"), Interval(0.5, 1.004, "N")]
    lines = time_words([Utterance(text="an")], intervals, {})
    assert "xmax = 1.0040" in format_text_grid(lines, 1.0)


def test_json(utterances):
    content = json.loads(format_json(utterances, 4000.0))
    assert content["duration"] == 4000
    first = content["utterances"][0]
    assert first["speaker"] == "Anna" and first["text"] == "Set vitamin A at 21"
    word = first["words"][0]
    assert word["word"] == "set" and word["start"] == 0.5
    assert [phoneme["phoneme"] for phoneme in word["phonemes"]] == ["S", "EH1", "T"]
    assert word["phonemes"][-1]["end"] == word["end"]
