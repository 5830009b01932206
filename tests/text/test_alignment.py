"""Alignment files, and phoneme times for texts without one."""

import itertools

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.text import alignment, normalize
from vssflow_jax.text.alignment import Interval, WordInterval
from vssflow_jax.text.durations import predict_total

SENTENCE = "S EH1 T B L UW1 AE1 T JH IY1 N AY1 N N AW1".split()  # noqa: SIM905
DURATIONS = {"S": 0.1, "EH1": 0.2, "AY1": 0.3}

# ---- files --------------------------------------------------------------------------------

INTERVALS = [Interval(0.1, 0.25, "S"), Interval(0.25, 0.5, "EH1"), Interval(0.7, 0.9, "T")]


def test_an_alignment_comes_back_as_it_was_written(tmp_path):
    alignment.write_alignment(tmp_path / "a.csv", INTERVALS)
    assert alignment.read_alignment(tmp_path / "a.csv") == INTERVALS


LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1
            text = "say ""set"" 2"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1
        intervals: size = 5
        intervals [1]:
            xmin = 0
            xmax = 0.1
            text = ""
        intervals [2]:
            xmin = 0.1
            xmax = 0.25
            text = "S"
        intervals [3]:
            xmin = 0.25
            xmax = 0.5
            text = "eh1"
        intervals [4]:
            xmin = 0.5
            xmax = 0.7
            text = "sp"
        intervals [5]:
            xmin = 0.7
            xmax = 0.9
            text = "T"
"""
SHORT = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\n<exists>\n1\n"IntervalTier"\n'
    '"ann - phones"\n0\n1\n3\n0.1\n0.25\n"S"\n0.25\n0.5\n"EH1"\n0.7\n0.9\n"T"\n'
)


@pytest.mark.parametrize("text", [LONG, SHORT])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_grids_are_read(tmp_path, text, encoding):
    (tmp_path / "a.TextGrid").write_text(text, encoding=encoding)
    assert alignment.read_alignment(tmp_path / "a.TextGrid") == INTERVALS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: found '', expected start,end,phoneme"),
        ("0.1,0.2,S\n", "line 1: found '0.1,0.2,S'"),
        ("start,end,phoneme\n0.1,S\n", "line 2: found 2 fields"),
        ("start,end,phoneme\na,0.2,S\n", "line 2: found times 'a', '0.2'"),
        ("start,end,phoneme\n0.3,0.2,S\n", "line 2: found 0.3 to 0.2 s"),
        ("start,end,phoneme\n0.3,0.4,QQ\n", "line 2: found phoneme 'QQ'"),
        ("start,end,phoneme\n0.3,0.4,S\n0.1,0.2,T\n", "line 3: found start 0.1 s"),
        ("start,end,phoneme\n0.3,nan,S\n", "line 2"),
        ('File type = "ooTextFile"\n"TextGrid"\n0 1 <exists> 3', "broken TextGrid"),
        (SHORT.replace("phones", "words"), "found tiers"),
    ],
)
def test_broken_alignments_are_named(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        alignment.read_alignment(tmp_path / "a.csv")
    assert message in str(caught.value) and "a.csv" in str(caught.value)


def test_a_missing_or_binary_alignment_is_named(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"\x80\x81\x82")
    for name, word in {"a.csv": "no such file", "b.csv": "not UTF-8 text"}.items():
        with pytest.raises(InputError, match=f"{name}: {word}"):
            alignment.read_alignment(tmp_path / name)


# ---- times for a text -----------------------------------------------------------------------


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.31, 3.97), (2.0, 2.0 + 1 / 3)])
@pytest.mark.parametrize("durations", [{}, DURATIONS])
def test_predicted_times_fill_the_interval_exactly(start, end, durations):
    intervals = alignment.place_phonemes(SENTENCE, start, end, durations)
    assert [i.symbol for i in intervals] == SENTENCE
    assert intervals[0].start == start and intervals[-1].end == end
    assert all(a.start < a.end == b.start for a, b in itertools.pairwise(intervals))


def test_without_an_end_the_length_is_natural():
    intervals = alignment.place_phonemes(SENTENCE, 0.3, None, DURATIONS)
    length = intervals[-1].end - intervals[0].start
    assert length == pytest.approx(predict_total(SENTENCE, DURATIONS))
    assert alignment.check_fit(SENTENCE, 0.3, 0.3 + length, DURATIONS) == pytest.approx(1)
    assert intervals[0].end - intervals[0].start == pytest.approx(0.1)


def test_too_little_time_and_wrong_times_are_errors():
    with pytest.raises(InputError, match=r"found 15 phonemes .* for 0.50 s .* at least 0.60 s"):
        alignment.check_fit(SENTENCE, 0.0, 0.5, {})
    assert alignment.check_fit(SENTENCE, 0.0, 0.6, {}) > 1.5
    for start, end in ((1.0, 1.0), (1.0, 0.5)):
        with pytest.raises(InputError, match="speech end"):
            alignment.place_phonemes(SENTENCE, start, end, {})
    with pytest.raises(InputError, match="speech start"):
        alignment.place_phonemes(SENTENCE, -0.5, 1.0, {})
    with pytest.raises(InputError, match="no phonemes"):
        alignment.place_phonemes([], 0.0, 1.0, {})


def test_what_is_not_spoken_is_a_warning():
    _, warnings = alignment.align_text("♪ set blue", None, None, None, {})
    assert len(warnings) == 1 and "EIGHTH NOTE" in warnings[0]
    with pytest.raises(InputError, match="CYRILLIC SMALL LETTER ZHE"):
        alignment.align_text("set blue ж", None, None, None, {})
    _, warnings = alignment.align_text("set blue ж", None, None, None, {}, normalize.SKIP)
    assert "skipped 'ж'" in warnings[0]


def test_a_text_starts_near_the_clips_start_and_keeps_to_its_end():
    intervals, warnings = alignment.align_text("set blue", None, None, None, {})
    assert intervals[0].start == alignment.SPEECH_START and not warnings
    natural = intervals[-1].end - intervals[0].start
    short, warnings = alignment.align_text("set blue", None, None, 0.6 * natural, {})
    assert short[0].start == 0 and short[-1].end == 0.6 * natural
    assert "will be rushed" in warnings[0]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (1.0, 0.5, "--speech_end: found 0.5 s, expected more than --speech_start, 1 s"),
        (2.0, None, "--speech_start: found 2 s, expected 0 to 2 s"),
        (None, 2.5, "--speech_end: found 2.5 s, expected at most 2 s"),
    ],
)
def test_an_interval_outside_of_the_clip_names_the_flag(start, end, message):
    with pytest.raises(InputError, match=message):
        alignment.align_text("set blue", start, end, 2.0, {})


# ---- times of words -------------------------------------------------------------------------


def test_phonemes_fill_the_times_of_their_words():
    words = [
        WordInterval(0.5, 0.8, "set"),
        WordInterval(0.9, 1.1, "a"),
        WordInterval(1.1, 1.5, "nine"),
        WordInterval(1.5, 1.9, "now"),
    ]
    intervals = alignment.place_words(words)
    assert [i.symbol for i in intervals] == "S EH1 T AH0 N AY1 N N AW1".split()  # noqa: SIM905
    assert (intervals[0].start, intervals[2].end) == (0.5, 0.8)
    assert intervals[3][:2] == (0.9, 1.1) and intervals[-1].end == 1.9


def test_words_are_read_in_their_sentence():
    """The A before a digit is a letter."""
    texts = ["set", "blue", "at", "a", "nine", "now"]
    words = [WordInterval(k, k + 0.5, text) for k, text in enumerate(texts)]
    assert [i.symbol for i in alignment.place_words(words) if int(i.start) == 3] == ["EY1"]


def test_several_words_may_share_an_interval():
    (first, *_, last) = alignment.place_words([WordInterval(1.0, 3.0, "It's 25 now.")])
    assert (first.start, last.end) == (1.0, 3.0)


@pytest.mark.parametrize(
    "words",
    [
        [WordInterval(0.0, 0.5, "set"), WordInterval(0.3, 0.8, "blue")],
        [WordInterval(0.5, 0.5, "set")],
        [WordInterval(0.5, 0.8, "...")],
    ],
)
def test_times_of_words_that_cannot_be_are_named(words):
    with pytest.raises(InputError):
        alignment.place_words(words)
