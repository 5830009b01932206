"""English as it is read out: sentences, each with the words that a reader says."""

import functools
import itertools
import re

import hypothesis
import pytest
from helpers import readings
from hypothesis import strategies as st

from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import sentences
from vssflow_jax.text import normalize, phonemes, verbalize

HARD = (
    ("It costs $5.50 today.", "it costs five dollars and fifty cents today"),
    ("He paid $1,234.", "he paid one thousand two hundred and thirty four dollars"),
    ("I owe you £3.05.", "i owe you three pounds and five pence"),
    ("That is €1 million.", "that is one million euros"),
    ("A $2.5 billion deal.", "a two point five billion dollars deal"),
    ("It was 50% off.", "it was fifty percent off"),
    ("On 3/14/2015 we met.", "on march fourteenth twenty fifteen we met"),
    ("She left on March 14, 2015.", "she left on march fourteenth twenty fifteen"),
    ("Born 2015-03-14 in Rome.", "born march fourteenth twenty fifteen in rome"),
    ("The 4th of July.", "the fourth of july"),
    ("On July 4th, 1976.", "on july fourth nineteen seventy six"),
    ("It was the 21st century.", "it was the twenty first century"),
    ("In 1905 and in 2007.", "in nineteen oh five and in two thousand and seven"),
    ("Back in the 1990s.", "back in the nineteen nineties"),
    ("In the '80s.", "in the eighties"),
    ("At 10:05 am.", "at ten oh five a. m"),
    ("At 3 p.m. sharp.", "at three p m sharp"),
    ("The train leaves at 14:30.", "the train leaves at fourteen thirty"),
    ("Dr. Smith met Mr. Jones.", "doctor smith met mister jones"),
    ("Mrs. Brown lives on 5th St.", "missus brown lives on fifth street"),
    ("St. Paul is near.", "saint paul is near"),
    ("Call 555-1234 now.", "call five five five one two three four now"),
    ("Call +1 (800) 555-0199.",
     "call plus one eight zero zero five five five zero one nine nine"),
    ("Chapter XIV of the book.", "chapter fourteen of the book"),
    ("Henry VIII was king.", "henry the eighth was king"),
    ("It is 5 km away.", "it is five kilometers away"),
    ("He runs 10 km/h.", "he runs ten kilometers per hour"),
    ("It weighs 2.5 kg.", "it weighs two point five kilograms"),
    ("It was -5°C outside.", "it was minus five degrees celsius outside"),
    ("Mix 1/2 cup of milk.", "mix one half cup of milk"),
    ("Add 3 1/4 cups.", "add three and one quarter cups"),
    ("No. 5 is alive.", "number five is alive"),
    ("The U.S.A. won.", "the u s a. won"),
    ("The BBC and NASA agree.", "the bbc and nasa agree"),
    ("Use the MP3 file.", "use the m p three file"),
    ("See www.example.com for more.", "see www dot example dot com for more"),
    ("Mail me at joe@example.com.", "mail me at joe at example dot com"),
    ("I'm 6'2\" tall.", "i'm six foot two tall"),
    ("The score was 3-2.", "the score was three to two"),
    ("Apples, pears, etc. are here.", "apples pears et cetera are here"),
    ("Pages 10-20 are missing.", "pages ten to twenty are missing"),
    ("The year 2024 vs. 2023.", "the year twenty twenty four versus twenty twenty three"),
    ("Room 101 is free.", "room one hundred and one is free"),
    ("1,000,000 people came.", "one million people came"),
    ("Version 2.0.1 is out.", "version two point zero point one is out"),
    ("He is 007.", "he is zero zero seven"),
    ("The answer is 3.14159.", "the answer is three point one four one five nine"),
    ("Vitamin A and plan B.", "vitamin a. and plan b"),
    ("A nine-year-old boy.", "a nine year old boy"),
    ("Set blue at A9 now.", "set blue at a. nine now"),
    ("The rent is $950.75 per month.",
     "the rent is nine hundred and fifty dollars and seventy five cents per month"),
    ("Tickets are €12 each.", "tickets are twelve euros each"),
    ("She earned $45k last year.", "she earned forty five thousand dollars last year"),
    ("Inflation hit 3.7% in Q4.", "inflation hit three point seven percent in q four"),
    ("The meeting is on Friday, Sept. 9 at 2:15 p.m.",
     "the meeting is on friday september ninth at two fifteen p m"),
    ("He was born on 12/25/1998.", "he was born on december twenty fifth nineteen ninety eight"),
    ("From 1914 to 1918.", "from nineteen fourteen to nineteen eighteen"),
    ("The 2000s were strange.", "the two thousands were strange"),
    ("It is 98.6°F in here.", "it is ninety eight point six degrees fahrenheit in here"),
    ("Drive 60 mph for 1 hour.", "drive sixty miles per hour for one hour"),
    ("Lt. Dan and Gov. Lee arrived.", "lieutenant dan and governor lee arrived"),
    ("Turn left on Oak Ave. and stop.", "turn left on oak avenue and stop"),
    ("Queen Elizabeth II waved.", "queen elizabeth the second waved"),
    ("World War I ended.", "world war one ended"),
    ("It's 3/4 full.", "it's three quarters full"),
    ("Call 1-800-555-0123.", "call one eight zero zero five five five zero one two three"),
    ("My PIN is 0042.", "my pin is zero zero four two"),
    ("About 12,500 fans & 30 players.",
     "about twelve thousand five hundred fans and thirty players"),
    ("The file is 4.2 MB.", "the file is four point two megabytes"),
    ("Meet me at 7 am.", "meet me at seven a. m"),
    ("Flight BA249 is late.", "flight ba two hundred and forty nine is late"),
    ("Tom's 3rd try, i.e. the last.", "tom's third try that is the last"),
    ("We won 4-0.", "we won four to zero"),
    ("Dr. Lee's office is at 221B Baker St.",
     "doctor lee's office is at two hundred and twenty one b baker street"),
    ("Route 66 runs west.", "route sixty six runs west"),
    ("The temperature fell to -12.5 degrees.",
     "the temperature fell to minus twelve point five degrees"),
    ("Add 1.5 l of water.", "add one point five liters of water"),
    ("Smith & Co. opened in 1888.", "smith and company opened in eighteen eighty eight"),
    ("Visit https://example.org/docs today.", "visit example dot org slash docs today"),
)  # fmt: skip


@pytest.mark.parametrize("kind", readings.READINGS)
def test_texts_of_each_kind_are_read_as_a_reader_says_them(kind):
    rows = dict(readings.READINGS[kind])
    assert {text: " ".join(normalize.words(text)) for text in rows} == rows


@pytest.mark.parametrize(("text", "spoken"), HARD)
def test_hard_sentences_are_read_out(text, spoken):
    words = normalize.words(text)
    assert words == spoken.split()
    assert all(phonemes.pronounce(words))


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("place red at a two soon", "EY1"),
        ("PLACE RED AT A TWO SOON", "EY1"),
        ("this is vitamin A", "EY1"),
        ("spell it u s a now", "EY1"),
        ("paper A4", "EY1"),
        ("the U.S.A. today", "EY1"),
        ("meet on a five then", "EY1"),
        ("at a two year old", "AH0"),
        ("take a nine iron", "AH0"),
        ("a letter", "AH0"),
        ("A letter", "AH0"),
        ("A LETTER FOR A FRIEND", "AH0"),
        ("I saw a man", "AH0"),
    ],
)
def test_the_letter_a_and_the_article_sound_different(text, sound):
    words = normalize.words(text)
    (place,) = [k for k, word in enumerate(words) if word in ("a", "a.")][-1:]
    assert phonemes.pronounce(words)[place] == (sound,)


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
def test_texts_become_spoken_words(text, expected):
    assert normalize.words(text) == expected.split()


@pytest.mark.parametrize("text", ["", "   ", "...", "?!", "—"])
def test_an_empty_transcript_is_an_error(text):
    with pytest.raises(InputError, match="no words"):
        normalize.words(text)


def test_a_text_of_hours_is_refused_at_once():
    with pytest.raises(InputError, match="found 400000 characters, expected at most 200000"):
        normalize.words("9" * 400_000)


# ---- what cannot be read, and what is not spoken ----------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("hello 世界", "'世' (CJK UNIFIED IDEOGRAPH-4E16, character 7), '界'"),
        ("Привет", "'П' (CYRILLIC CAPITAL LETTER PE, character 1)"),
        ("a س", "'س' (ARABIC LETTER SEEN, character 3)"),
        ("word λόγος", "'λ' (GREEK SMALL LETTER LAMDA, character 6)"),
        ("caf\ufffd", "'\ufffd' (REPLACEMENT CHARACTER, character 4)"),
        ("bell\x07", "'\\x07' (U+0007, character 5)"),
        ("\ue000x", "'\\ue000' (U+E000, character 1)"),
        ("x &#1078; y", "'ж' (CYRILLIC SMALL LETTER ZHE, character 3)"),
        ("<b>x</b> ж", "'ж' (CYRILLIC SMALL LETTER ZHE, character 10)"),
        ("ʃip", "'ʃ' (LATIN SMALL LETTER ESH, character 1)"),
    ],
)
def test_unreadable_characters_are_refused_by_name_and_place(text, named):
    with pytest.raises(InputError, match="expected characters that can be pronounced") as caught:
        normalize.words(text)
    assert named in str(caught.value) and "\n" not in str(caught.value)


def test_each_unreadable_character_is_listed_once():
    with pytest.raises(InputError) as caught:
        normalize.words("жж ж")
    assert str(caught.value).count("CYRILLIC") == 1
    with pytest.raises(InputError, match="and 16 more in"):
        normalize.words("абвгдежзиклмнопрстуф")


def test_unreadable_characters_are_skipped_with_a_warning_if_asked():
    reading = normalize.read("hello 世界, жhi", normalize.SKIP)
    assert reading.words == ["hello", "hi"]
    assert len(reading.warnings) == 1
    assert "skipped '世' (CJK UNIFIED IDEOGRAPH-4E16, character 7)" in reading.warnings[0]
    with pytest.raises(InputError, match=r"no words .* skipped '世'"):
        normalize.read("世界", normalize.SKIP)


@pytest.mark.parametrize(
    ("text", "spoken", "named"),
    [
        ("♪ la ♪", "la", "'♪' (EIGHTH NOTE, character 1)"),
        ("great 👍🏽 job", "great job", "'👍' (THUMBS UP SIGN, character 7)"),
        ("🇺🇸 usa", "usa", "'🇺' (REGIONAL INDICATOR SYMBOL LETTER U, character 1)"),
        ("✓ done", "done", "'✓' (CHECK MARK, character 1)"),
        ("[laughs] Come on", "come on", "'[laughs]' (stage direction)"),
        ("(sighs) Fine.", "fine", "'(sighs)' (stage direction)"),
        ("*coughs loudly* hi", "hi", "'*coughs loudly*' (stage direction)"),
        ("{laughs} hi", "hi", "'{laughs}' (stage direction)"),
        ("<laughs> hi", "hi", "'<laughs>' (stage direction)"),
        ("a <b and c> d", "a d", "'<b and c>' (stage direction)"),
        ("nice :-)", "nice", "':-)' (emoticon)"),
        ("see [this](https://x.org/y)", "see this", "'(https://x.org/y)' (address of a link)"),
        ("as Einstein said.¹", "as einstein said", "'^1' (mark of a footnote)"),
    ],
)
def test_what_is_not_spoken_is_left_out_with_a_warning(text, spoken, named):
    reading = normalize.read(text)
    assert reading.words == spoken.split()
    assert any(named in line for line in reading.warnings)


@pytest.mark.parametrize(
    "text", ["(my brother) left", "*really* good", "he [I] said", "I ♥ NY", "5 < 6 > 4"]
)
def test_ordinary_parentheses_emphasis_and_signs_are_no_stage_directions(text):
    spoken = normalize.read(text)
    assert not any("my brother" in line or "really" in line for line in spoken.warnings)
    assert {"brother", "really", "said", "love", "less"} & set(spoken.words)


@pytest.mark.parametrize("text", ["♥", "🙂 😀", "[music]", ":)"])
def test_a_text_that_is_not_spoken_at_all_is_refused_with_the_reason(text):
    with pytest.raises(InputError, match=r"found no words in .* expected something to say; left"):
        normalize.words(text)


# ---- properties -------------------------------------------------------------------------------

SPOKEN = re.compile(r"a\.|[a-z]+(?:'[a-z]+)*")
PIECES = [text for rows in readings.READINGS.values() for text, _ in rows]


def texts(pieces):
    """Texts glued together from pieces, single characters and blanks."""
    glue = st.sampled_from([" ", " ", "", "-", "/", ".", ",", "'", '"', "\n", "5", "A", "IV"])
    return st.lists(st.one_of(pieces, glue, st.text(max_size=2)), max_size=10).map("".join)


def check_reading(text):
    """Words that the phonemes' front end takes, or an error in one line; no third way."""
    try:
        words = normalize.words(text, normalize.SKIP)
    except InputError as error:
        assert "found no words" in str(error) and "\n" not in str(error)
        return
    assert all(SPOKEN.fullmatch(word) for word in words), words
    assert normalize.words(" ".join(words)) == words, "read once more, it changes"


@hypothesis.given(texts(st.sampled_from(PIECES)))
@hypothesis.settings(max_examples=400, deadline=None, derandomize=True)
def test_mixtures_of_kinds_give_words_that_are_read_as_themselves(text):
    check_reading(text)


@hypothesis.given(st.text(max_size=2000))
@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
def test_any_text_gives_words_or_an_error(text):
    check_reading(text)


@hypothesis.given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20))
@hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
def test_refusing_and_skipping_name_the_same_characters(text):
    try:
        skipped = " ".join(normalize.read(text, normalize.SKIP).warnings)
    except InputError as error:
        skipped = str(error)
    try:
        normalize.read(text)
    except InputError as error:
        if "characters that can be pronounced" in str(error):
            named = re.findall(r"\([^()]+, character \d+\)", str(error))
            assert named and all(name in skipped for name in named)
    else:
        assert "skipped" not in skipped


@hypothesis.given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map(" ".join))
@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
def test_every_word_that_is_read_has_phonemes(text):
    words = normalize.words(text)
    assert all(phonemes.pronounce(words))


# ---- cost -------------------------------------------------------------------------------------


def test_an_attempt_of_any_rule_takes_bounded_time():
    """Only runs of one class of characters are unbounded: they are read in one piece."""
    for rule in verbalize.RULES:
        least, most = re._parser.parse(rule.pattern).getwidth()
        runs = rule.kind in {"decoration", "long number", "word"}
        assert least > 0 and (runs or most <= 2100), rule.kind
    _, most = re._parser.parse(normalize._FIRST_ARTICLE.pattern).getwidth()
    assert most <= 50  # a run of 100,000 quotation marks took a minute


@pytest.mark.parametrize(
    "unit", ["$5-10 ", "1-1-1-", "a.b.", "1,1,", "((", "[", "aaaa", "1/1/", "a@", "St. ", "x^2"]
)
def test_the_work_grows_with_the_length_of_the_text(unit, monkeypatch):
    counts = []
    for repeats in (100, 200, 400):
        places = []
        with monkeypatch.context() as patch:
            patch.setattr(verbalize, "_read_place", functools.partial(read_and_count, places))
            verbalize.verbalize(unit * repeats)
        counts.append(len(places))
    assert counts[2] <= 2.1 * counts[1] <= 4.4 * counts[0]


def read_and_count(places, *place, read=verbalize._read_place):
    places.append(place)
    return read(*place)


# ---- MiniAV -----------------------------------------------------------------------------------


def test_sentences_of_the_toy_corpus_are_read_as_they_stand():
    """So that the shipped model hears the phonemes that it was trained on."""
    for words in itertools.islice(itertools.product(*sentences.GRAMMAR), 0, None, 29):
        spoken = normalize.words(" ".join(words))
        assert spoken == ["a." if word == "a" else word for word in words]
