"""Texts of subtitles: speakers, formatting, and what is not spoken."""

import time

import pytest

from vssflow_jax.text.captions import parse_caption, remove_repeated_lines

NAMES = {"anna", "bob smith"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Hello there", [("", "Hello there")]),
        ("Hello\nthere", [("", "Hello there")]),
        ("[Anna] Hello\nthere", [("Anna", "Hello there")]),
        ("[ANNA]: Hello", [("ANNA", "Hello")]),
        ("(Anna) Hello", [("Anna", "Hello")]),
        ("Anna: Hello", [("Anna", "Hello")]),
        ("bob  smith: Hello", [("bob  smith", "Hello")]),
        ("CARL: Hello", [("CARL", "Hello")]),
        ("MAN 2: Hello", [("MAN 2", "Hello")]),
        ("MRS. O'BRIEN: HELLO", [("MRS. O'BRIEN", "HELLO")]),
        ("BE THERE WITH IT AT 5: OR NOT", [("", "BE THERE WITH IT AT 5: OR NOT")]),
        ("Note: this is text", [("", "Note: this is text")]),
        ("At 5: 30 people", [("", "At 5: 30 people")]),
        ("<v Anna>Hello</v>", [("Anna", "Hello")]),
        ("<v>Hello</v>", [("", "Hello")]),
        ("<v.loud.first Bob Smith>Hi", [("Bob Smith", "Hi")]),
        ("<v Anna>Hi</v> <v Bob Smith>Ho</v>", [("Anna", "Hi"), ("Bob Smith", "Ho")]),
        ("- [Anna] Hello.\n- Hi!", [("Anna", "Hello."), ("", "Hi!")]),
        ("- Hello.\n- Hi!", [("", "Hello. Hi!")]),
        ("\u2013 [Anna] Hello.\n\u2014 Bob Smith: Hi!", [("Anna", "Hello."), ("Bob Smith", "Hi!")]),
        ("-5 degrees", [("", "-5 degrees")]),
        ("<i>Hello</i> <font color='#ff0000'>there</font>", [("", "Hello there")]),
        ("<c.yellow.bg_blue>Hello</c> <lang en>you</lang>", [("", "Hello you")]),
        ("a<00:00:03.200><c> b</c>", [("", "a b")]),
        ("{\\an8}{\\i1}Hello{\\i0}", [("", "Hello")]),
        ("{\\k20}Hel{\\k30}lo", [("", "Hello")]),
        ("Tom &amp; Jerry &lt;3", [("", "Tom & Jerry <3")]),
        ("3 < 4 and 5 > 2", [("", "3 < 4 and 5 > 2")]),
        ("{\\p1}m 0 0 l 100 0 100 100{\\p0}", []),
        ("...", []),
    ],
)
def test_speakers_and_formatting(text, parts):
    assert parse_caption(text, NAMES).parts == parts


@pytest.mark.parametrize(
    ("text", "spoken", "omitted"),
    [
        ("[door slams]", [], ["[door slams]"]),
        ("[door\nslams] Who is it?", ["Who is it?"], ["[door slams]"]),
        ("[Carl] Hello", ["Hello"], ["[Carl]"]),
        ("[Anna] [sighs] Hello", ["Hello"], ["[sighs]"]),
        ("(LAUGHTER)", [], ["(LAUGHTER)"]),
        ("Hello (or so)", ["Hello (or so)"], []),
        ("♪", [], ["♪"]),
        ("♪ la la\nla la ♪\nHello", ["Hello"], ["♪ la la la la ♪"]),
        ("♫ la la", [], ["♫ la la"]),
        ("# la la la", [], ["# la la la"]),
        ("We are #1", ["We are #1"], []),
        ("?!", [], ["?!"]),
        ("<ruby>word<rt>reading</rt></ruby>", ["word"], ["<rt>reading</rt>"]),
    ],
)
def test_what_is_not_spoken_is_listed(text, spoken, omitted):
    caption = parse_caption(text, NAMES)
    assert [part.text for part in caption.parts] == spoken
    assert caption.omitted == omitted


def test_lines_that_roll_up_are_kept_once():
    texts = [
        " \nhello<00:00:00.500><c> world</c>",
        "hello world\n ",
        "hello world\nnext<00:00:03.000><c> line</c>",
    ]
    plain = [[part.text for part in parse_caption(t).parts] for t in remove_repeated_lines(texts)]
    assert plain == [["hello world"], [], ["next line"]]
    assert remove_repeated_lines(["No.", "No.\nYes."]) == ["No.", "No.\nYes."]


def test_long_blanks_take_no_time():
    """Before, each of these took a second."""
    began = time.process_time()
    for _ in range(50):
        assert parse_caption(f"{' ' * 5000}x").parts == [("", "x")]
    assert time.process_time() - began < 10
