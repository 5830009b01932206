"""Other words in a span: what is left of the words around it, and how long the new ones last."""

import pytest

from vssflow_jax.text.alignment import Interval, place_phonemes
from vssflow_jax.text.durations import DurationModel, predict_durations
from vssflow_jax.text.phonemes import pronounce
from vssflow_jax.text.replacement import TOLERANCE, list_cut_words, list_neighbors, replace_words
from vssflow_jax.text.word_times import TimedUtterance, TimedWord

WORDS = ("set", "blue", "now")


def say_words(words, start=1.0, seconds=0.1):
    """An utterance with phonemes of equal length."""
    timed = []
    for word, symbols in zip(words, pronounce(words), strict=True):
        intervals = place_phonemes(
            symbols, start, start + seconds * len(symbols), dict.fromkeys(symbols, seconds)
        )
        start = intervals[-1].end
        timed.append(TimedWord(intervals[0].start, start, word, tuple(intervals)))
    return TimedUtterance(text=" ".join(words), speaker="", words=tuple(timed))


@pytest.mark.parametrize("rounding", [-0.9 * TOLERANCE, 0.0, 0.9 * TOLERANCE])
def test_a_word_goes_with_its_border_although_that_is_rounded(rounding):
    line, new = say_words(WORDS), say_words(("red",), start=1.3)
    start, end = (edge + rounding for edge in line.words[1][:2])
    before, _, behind = replace_words([line], start, end, new)
    assert (before.text, behind.text) == ("set", "now")
    assert list_cut_words([line], start, end) == []


def test_what_a_border_leaves_of_a_phoneme_stays():
    line, new = say_words(WORDS), say_words(("red",), start=1.3)
    start, end = line.words[1].start + 2 * TOLERANCE, line.words[1].end
    before = replace_words([line], start, end, new)[0]
    assert before.text == "set blue" and before.end == start
    assert [word.text for word in list_cut_words([line], start, end)] == ["blue"]


def test_short_phonemes_outside_a_span_stay():
    short = Interval(1.0, 1.0 + TOLERANCE / 4, "AH0")
    line = TimedUtterance(
        text="a", speaker="", words=(TimedWord(short.start, short.end, "a", (short,)),)
    )
    assert replace_words([line], 2.0, 3.0, say_words(("red",), start=2.0))[0] == line


def test_neighbors_are_those_of_the_sentences_that_a_span_is_within():
    lines = [say_words(WORDS), say_words(WORDS, start=4.0)]
    symbols = [tuple(x.symbol for x in word.phonemes) for word in lines[0].words]
    blue = lines[0].words[1]
    assert list_neighbors(lines, blue.start, blue.end) == (symbols[0], symbols[2])
    assert list_neighbors(lines, blue.start, lines[1].words[0].end) == (
        symbols[0],
        symbols[1] + symbols[2],
    )
    assert list_neighbors(lines, lines[1].start, lines[1].end) == ((), ())
    assert list_neighbors(lines, 3.0, 3.5) == ((), ())


def test_between_neighbors_phonemes_last_as_long_as_in_the_sentence():
    sentence = [symbol for word in pronounce(WORDS) for symbol in word]
    first, last = len(pronounce(WORDS)[0]), -len(pronounce(WORDS)[2])
    model = DurationModel({"B": 0.05, "UW1": 0.1, "# B L": 0.2, "L UW1 #": 0.3, "L UW1 N": 0.15})
    between = model.with_neighbors(sentence[:first], sentence[last:])
    assert (
        predict_durations(sentence[first:last], between.with_voice(None))
        == (predict_durations(sentence, model)[first:last])
    )
    assert predict_durations(sentence[first:last], model)[-1] == 0.3
    assert predict_durations(sentence[first:last], between)[-1] == 0.15
