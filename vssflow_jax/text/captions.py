"""A subtitle's text to speech: who says each part of it, and what of it is not said."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

# Tags of SubRip and WebVTT that say how a text looks, and times within a line (karaoke).
_FORMATTING = re.compile(r"</?(?:i|b|u|s|c|v|font|lang|ruby)(?:[.\s][^<>]*)?>|<[\d:.]+>", re.I)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>", re.I)
_VOICE_END = re.compile(r"</v>", re.I)
_RUBY = re.compile(r"<rt>(.*?)(?:</rt>|$)", re.I | re.S)  # a reading above a word
_DRAWING = re.compile(r"\{[^{}]*\\p[1-9][^{}]*\}.*?(?:\{[^{}]*\\p0[^{}]*\}|$)", re.S)
_OVERRIDE = re.compile(r"\{\\[^{}]*\}|\{\}")  # formatting of SubStation
_DASH = re.compile(r"\s*[-\u2013\u2014](?:\s+|(?=[^\s\d]))")  # begins what another speaker says
_BRACKETED_NAME = re.compile(r"\s*(?:\[([^\[\]\n]+)\]|\(([^()\n]+)\))\s*:?\s*")
_NAME = re.compile(r"\s*([^\s:\[\]()][^:\[\]()\n]{0,39}?)\s*:\s+(?=\S)")
_CAPITALS = re.compile(
    r"[^\W\d_a-z][^\da-z\s]+(?: [^\da-z\s]+){0,2}(?: \d)?"
)  # "MRS. WOLFE", "MAN 1"
MAX_NAME_WORDS = 3  # of a name that is suggested
_KARAOKE = re.compile(r"<\d[\d:.]*>")
_SONG = re.compile(r"[♩♪♫♬](?:[^♩♪♫♬]*[♩♪♫♬]+|[^\n]*)|^\s*#\s[^\n]*", re.M)
_SOUND = re.compile(r"\[[^\[\]]*\]|^\s*\([^()]*\)\s*$", re.M)


class SpokenPart(NamedTuple):
    """What one speaker says: name (empty: the text does not say it), text in one line."""

    speaker: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caption:
    """A subtitle's text as speech.

    Attributes:
      parts: what is said, one after another.
      omitted: what is not said, such as descriptions of sounds.
    """

    parts: list[SpokenPart]
    omitted: list[str]


def fold_name(name: str) -> str:
    """A speaker's name without regard to case and blanks."""
    return " ".join(name.split()).casefold()


def parse_caption(text: str, names: Collection[str] = ()) -> Caption:
    """The parts of a subtitle's text by speaker.

    A speaker is named by a voice tag, `<v Anna>`, or at the beginning of a line by `[Anna]`,
    `(Anna)`, `Anna:` (if it is one of `names`) or `ANNA:` (in capitals). Formatting is removed.
    Song and descriptions of sounds, `♪ … ♪`, `[door slams]`, a line in parentheses, are left out.

    Args:
      text: with tags.
      names: of the known speakers, as `fold_name` gives them.
    """
    omitted: list[str] = []

    def omit(match: re.Match) -> str:
        if match[0].strip():
            omitted.append(" ".join(match[0].split()))
        return " "

    text = _RUBY.sub(omit, _OVERRIDE.sub("", _DRAWING.sub("", text)))
    lines: list[SpokenPart] = []
    for speaker, segment in _split_voices(text):
        plain = html.unescape(_FORMATTING.sub("", segment))
        lines += _split_lines(_SONG.sub(omit, plain), speaker, names)
    parts = []
    for part in _merge(lines):
        spoken = " ".join(_SOUND.sub(omit, part.text).split())
        if any(character.isalnum() for character in spoken):
            parts.append(SpokenPart(part.speaker, spoken))
        elif spoken:
            omitted.append(spoken)
    return Caption(parts=parts, omitted=omitted)


def suggest_names(text: str) -> list[str]:
    """What a subtitle's text may name as speakers: those that it names without doubt, and others.

    `[Anna] Yes.` may also say that somebody called Anna speaks, `Anna: Yes.` as well.
    """
    names = []
    for speaker, segment in _split_voices(_OVERRIDE.sub("", text)):
        names += [speaker] if speaker else []
        for line in html.unescape(_FORMATTING.sub("", segment)).split("\n"):
            if dash := _DASH.match(line):
                line = line[dash.end() :]
            match = _BRACKETED_NAME.match(line) or _NAME.match(line)
            name = next(filter(None, match.groups()), "").strip() if match else ""
            is_followed = match is not None and line[match.end() :].strip()
            if is_followed and name[:1].isupper() and len(name.split()) <= MAX_NAME_WORDS:
                names.append(name)
    return names


def remove_repeated_lines(texts: Sequence[str]) -> list[str]:
    """Texts of neighboring subtitles without the lines of those that roll up.

    Captions that are made automatically show each line twice, first word by word, then above the
    next line. Without times of words in the texts nothing is removed.
    """
    if not any(_KARAOKE.search(text) for text in texts):
        return list(texts)
    kept, before = [], set()
    for text in texts:
        lines = {_FORMATTING.sub("", line).strip(): line for line in text.split("\n")}
        kept.append("\n".join(line for plain, line in lines.items() if plain not in before))
        before = set(lines)
    return kept


def _split_voices(text: str) -> Iterator[tuple[str, str]]:
    """(speaker, text) by voice tags; the speaker is empty outside of them."""
    before, *tagged = _VOICE.split(text)
    yield "", before
    for name, spoken in zip(tagged[::2], tagged[1::2], strict=True):
        inside, *outside = _VOICE_END.split(spoken)
        yield " ".join(html.unescape(name).split()), inside
        yield "", " ".join(outside)


def _split_lines(text: str, speaker: str, names: Collection[str]) -> Iterator[SpokenPart]:
    """The lines of a text with their speakers; `speaker` says those that name no other."""
    current = speaker
    for line in text.split("\n"):
        dash = _DASH.match(line)
        if dash:
            current, line = speaker, line[dash.end() :]
        name, length = _find_name(line, names)
        if length:
            current, line = name, line[length:]
        if line.strip():
            yield SpokenPart(current, line)


def _find_name(line: str, names: Collection[str]) -> tuple[str, int]:
    """The name that a line begins with, and the number of its characters; 0 without one."""
    if match := _BRACKETED_NAME.match(line):
        name = match[1] or match[2]
        return (name.strip(), match.end()) if fold_name(name) in names else ("", 0)
    if (match := _NAME.match(line)) and (
        fold_name(match[1]) in names or _CAPITALS.fullmatch(match[1])
    ):
        return match[1], match.end()
    return "", 0


def _merge(lines: list[SpokenPart]) -> list[SpokenPart]:
    """Neighboring lines of one speaker as one part."""
    parts: list[SpokenPart] = []
    for line in lines:
        if parts and fold_name(parts[-1].speaker) == fold_name(line.speaker):
            line = SpokenPart(line.speaker, f"{parts.pop().text}\n{line.text}")
        parts.append(line)
    return parts
