import itertools

import numpy as np
import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.text import alignment, normalize, phonemes
from vssflow_jax.text.alignment import Interval
from vssflow_jax.text.durations import (
    DEFAULT_DURATIONS,
    measure_durations,
    phoneme_duration,
    predict_durations,
    predict_total,
)
from vssflow_jax.text.grid import phonemes_to_frames

SENTENCE = "S EH1 T B L UW1 AE1 T JH IY1 N AY1 N N AW1".split()  # noqa: SIM905
DURATIONS = {"S": 0.1, "EH1": 0.2, "AY1": 0.3}


# ---- words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Set blue at G9, now!", "set blue at g nine now"),
        ("1,234 apples", "one thousand two hundred and thirty four apples"),
        ("in 1984", "in nineteen eighty four"),
        ("the 21st", "the twenty first"),
        ("3.14", "three point one four"),
        ("-5", "minus five"),
        ("x-ray", "x ray"),
        ("$5.50", "five dollars and fifty cents"),
        ("50% & more", "fifty percent and more"),
        ("at 10:05", "at ten oh five"),
        ("007", "zero zero seven"),
        ("don\u2019t \u2018stop\u2019", "don't stop"),
        ("café naïve Åse", "cafe naive ase"),
        ("“hello…” — world", "hello world"),
        ("12345678901234567", "one two three four five six seven eight nine zero one two three "
         "four five six seven"),
    ],
)  # fmt: skip
def test_words_are_spelled_as_they_are_said(text, expected):
    assert normalize.words(text) == expected.split()


@pytest.mark.parametrize("text", ["", "   ", "...", "?!", "—"])
def test_an_empty_transcript_is_an_error(text):
    with pytest.raises(InputError, match="no words"):
        normalize.words(text)


@pytest.mark.parametrize("text", ["hello 世界", "Привет", "♥", "🙂 hi", "٣"])
def test_characters_nobody_can_pronounce_are_named(text):
    with pytest.raises(InputError, match="expected characters that can be pronounced") as caught:
        normalize.words(text)
    assert "\n" not in str(caught.value)


def test_every_printable_ascii_text_gives_words_or_a_plain_error():
    generator = np.random.default_rng(0)
    for _ in range(200):
        text = "".join(map(chr, generator.integers(32, 127, 12)))
        try:
            words = normalize.words(text)
        except InputError:
            continue
        assert all(word == "a." or word.replace("'", "a").isalpha() for word in words)
        assert all(word == word.lower() for word in words)


# ---- phonemes -----------------------------------------------------------------------------


def test_the_inventory_is_that_of_the_published_weights():
    assert len(phonemes.SYMBOLS) == len(set(phonemes.SYMBOLS)) == 71
    assert phonemes.SYMBOLS[phonemes.BLANK] == "<blank>"
    some = {1: "AA0", 2: "DH", 34: "T", 47: "S", 58: "L", 60: "ER1", 70: "AE2"}
    assert {number: phonemes.SYMBOLS[number] for number in some} == some


def test_pronunciations_are_the_dictionarys_first():
    assert phonemes.pronounce(["set", "blue", "a"]) == [
        ("S", "EH1", "T"),
        ("B", "L", "UW1"),
        ("AH0",),
    ]


def test_unknown_words_are_pronounced_by_rule():
    assert "blorpish" not in phonemes.load_dictionary()
    (symbols,) = phonemes.pronounce(["blorpish"])
    assert symbols[:2] == ("B", "L") and symbols[-1] == "SH"
    assert phonemes.symbols_to_ids(symbols).dtype == np.int32


def test_the_whole_dictionary_is_in_the_inventory():
    used = {symbol for entry in phonemes.load_dictionary().values() for symbol in entry.split()}
    assert used <= set(phonemes.SYMBOLS)


# ---- alignment files ----------------------------------------------------------------------

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
    for name, word in {"a.csv": "no such file", "b.csv": "not text"}.items():
        with pytest.raises(InputError, match=f"{name}: {word}"):
            alignment.read_alignment(tmp_path / name)


# ---- the grid -----------------------------------------------------------------------------


def random_intervals(generator, count, seconds):
    """`count` phonemes with pauses within `seconds`; some far shorter than a frame."""
    edges = np.sort(generator.uniform(0, seconds, 2 * count))
    if generator.random() < 0.5:  # without pauses
        edges[2::2] = edges[1:-1:2]
    names = generator.choice(phonemes.SYMBOLS[1:59], count)
    return [Interval(a, b, str(s)) for a, b, s in zip(edges[::2], edges[1::2], names, strict=True)]


def runs(grid):
    """Ids in order without repetitions and silence."""
    spoken = [int(number) for number in grid if number]
    return [number for number, _ in itertools.groupby(spoken)]


def test_the_grid_keeps_every_phoneme_in_order():
    generator = np.random.default_rng(0)
    for _ in range(200):
        intervals = random_intervals(generator, generator.integers(1, 40), 2.0)
        grid = phonemes_to_frames(intervals, 50)
        expected = [phonemes.IDS[i.symbol] for i in intervals]
        assert grid.shape == (50,) and grid.dtype == np.int32
        assert runs(grid) == runs(expected)


def test_long_phonemes_lie_where_they_overlap_most():
    grid = phonemes_to_frames([Interval(0.10, 0.31, "S"), Interval(0.31, 0.70, "T")], 25)
    expected = np.zeros(25, int)
    expected[2:8], expected[8:17] = phonemes.IDS["S"], phonemes.IDS["T"]
    np.testing.assert_array_equal(grid[3:17], expected[3:17])
    assert not grid[:2].any() and not grid[18:].any()


def test_the_grid_covers_any_length_of_clip():
    intervals = alignment.place_phonemes(SENTENCE, 0.5, 1.7, {})
    assert not phonemes_to_frames([], 10).any()
    assert phonemes_to_frames(intervals, 0).shape == (0,)
    assert not phonemes_to_frames(intervals, 10).any(), "the clip ends before the speech"
    dense = phonemes_to_frames(alignment.place_phonemes(SENTENCE, 0.0, 0.2, {}), 5)
    assert dense.shape == (5,) and dense.all()
    cut = phonemes_to_frames(intervals, 30)
    assert len(cut) == 30 and cut[-1] and cut[-1] != phonemes.IDS["AW1"]


# ---- prediction ---------------------------------------------------------------------------


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


def test_unseen_phonemes_take_what_is_closest():
    assert phoneme_duration("EH2", DURATIONS) == 0.2, "another stress of the same vowel"
    pace = 0.6 / sum(DEFAULT_DURATIONS[name] for name in DURATIONS)
    assert phoneme_duration("T", DURATIONS) == pytest.approx(DEFAULT_DURATIONS["T"] * pace)
    assert DEFAULT_DURATIONS.keys() == set(phonemes.SYMBOLS) - {"sil", "<blank>"}


def test_durations_are_means():
    means = measure_durations([INTERVALS, [Interval(0, 0.05, "S")]])
    assert means == pytest.approx({"S": 0.1, "EH1": 0.25, "T": 0.2})


def test_durations_know_the_neighbours_that_occur_often():
    """T is long at the end and short before S, and what is rare is not taken at its word."""
    said = [Interval(0, 0.1, "T"), Interval(0.1, 0.3, "S"), Interval(0.3, 0.7, "T")]
    table = measure_durations([said] * 100 + [[Interval(0, 1.0, "EH1"), *said[:1]]])
    assert table["T"] == pytest.approx(0.25, abs=0.01)
    assert table["# T S"] == pytest.approx(0.1, abs=0.01)
    assert predict_durations("TST", table) == pytest.approx([0.1, 0.2, 0.4], abs=0.01)
    assert "EH1 T" not in table
    assert predict_durations(["EH1", "T"], table)[0] == table["EH1"]
    assert predict_total("TST", table) == pytest.approx(0.7, abs=0.02)
    assert phoneme_duration("EH0", table) == table["EH1"], "contexts do not count as phonemes"
    few = measure_durations([said] * 3 + [[Interval(0, 0.5, "T")]] * 20)
    assert 0.1 < few["# T S"] < 0.3, "drawn towards the mean of all T"


def test_text_that_cannot_fit_and_wrong_times_are_errors():
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
