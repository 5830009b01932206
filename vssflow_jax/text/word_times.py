"""When each word of a script is said, and the files that say so: SubRip, TextGrid, JSON."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vssflow_jax.text import normalize, phonemes, subwords
from vssflow_jax.text.alignment import Interval
from vssflow_jax.text.durations import has_tokenizer
from vssflow_jax.text.script import Utterance
from vssflow_jax.text.verbalize.abbreviations import LETTER_A

WORD_START = "\u2581"  # begins the first subword of a word, in sentencepiece's models
DECIMALS = 4  # of seconds


class TimedWord(NamedTuple):
    """A word as it is spoken: start and end in seconds, its phonemes or subwords."""

    start: float
    end: float
    text: str
    phonemes: tuple[Interval, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimedUtterance:
    """An utterance with its times.

    Attributes:
      text: as the script has it.
      speaker: name; empty: the script does not say it.
      words: as they are spoken: numbers and abbreviations are read out.
    """

    text: str
    speaker: str
    words: tuple[TimedWord, ...]

    @property
    def start(self) -> float:
        """Seconds."""
        return self.words[0].start

    @property
    def end(self) -> float:
        """Seconds."""
        return self.words[-1].end


def time_words(
    script: Sequence[Utterance],
    intervals: Sequence[Interval],
    durations: Mapping[str, float],
    policy: str = normalize.REFUSE,
) -> list[TimedUtterance]:
    """The words of a script by the times of its phonemes.

    Args:
      script: the utterances.
      intervals: of all their phonemes (or subwords), in order.
      durations: the duration model, which says whether texts become subwords.
      policy: of characters that cannot be read (text.normalize).
    """
    rest, utterances = iter(intervals), []
    for line in script:
        words = []
        for word, size in _split_words(line.text, durations, policy):
            spoken = tuple(itertools.islice(rest, size))
            words.append(TimedWord(spoken[0].start, spoken[-1].end, word, spoken))
        utterances.append(TimedUtterance(text=line.text, speaker=line.name, words=tuple(words)))
    return utterances


def shift_utterance(utterance: TimedUtterance, seconds: float) -> TimedUtterance:
    """The utterance so much later, or earlier where `seconds` are below 0; no time is below 0."""

    def shift(span):
        return span._replace(start=max(span.start + seconds, 0.0), end=max(span.end + seconds, 0.0))

    words = tuple(
        shift(word)._replace(phonemes=tuple(shift(phoneme) for phoneme in word.phonemes))
        for word in utterance.words
    )
    return dataclasses.replace(utterance, words=words)


def _split_words(
    text: str, durations: Mapping[str, float], policy: str
) -> Iterator[tuple[str, int]]:
    """Each spoken word of a text and the number of its symbols."""
    if not has_tokenizer(durations):
        words = normalize.words(text, policy)
        for word, symbols in zip(words, phonemes.pronounce(words), strict=True):
            yield word if word != LETTER_A else "a", len(symbols)
        return
    text, _ = subwords.select_readable(durations.tokenizer, text, policy)
    symbols = subwords.tokenize(durations.tokenizer, text)
    pieces = [symbol.partition(subwords.SEPARATOR)[2] for symbol in symbols]
    starts = [n for n, piece in enumerate(pieces) if n == 0 or piece.startswith(WORD_START)]
    for start, end in itertools.pairwise([*starts, len(pieces)]):
        yield "".join(pieces[start:end]).replace(WORD_START, ""), end - start


def describe_times(utterances: Sequence[TimedUtterance]) -> dict[str, list]:
    """The times of utterances in a report, as JSON: their phonemes and their spans."""
    words = [word for line in utterances for word in line.words]
    return {
        "alignment": [list(phoneme) for word in words for phoneme in word.phonemes],
        "spans": [[line.start, line.end] for line in utterances],
    }


# ---- files --------------------------------------------------------------------------------


def label_text(utterance: TimedUtterance) -> str:
    """The text of an utterance in one line, behind its speaker's name in brackets."""
    text = " ".join(utterance.text.split())
    return f"[{utterance.speaker}] {text}" if utterance.speaker else text


def format_srt(utterances: Sequence[TimedUtterance]) -> str:
    """SubRip subtitles, one for each utterance."""
    return "\n".join(
        f"{number}\n{_format_clock(line.start)} --> {_format_clock(line.end)}\n{label_text(line)}\n"
        for number, line in enumerate(utterances, 1)
    )


def _format_clock(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds, as SubRip has them."""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02},{milliseconds % 1000:03}"


def format_text_grid(utterances: Sequence[TimedUtterance], duration: float) -> str:
    """Praat's TextGrid, with the tiers utterances, words and phones."""
    words = [word for line in utterances for word in line.words]
    tiers = {
        "utterances": [(line.start, line.end, label_text(line)) for line in utterances],
        "words": [word[:3] for word in words],
        "phones": [phoneme for word in words for phoneme in word.phonemes],
    }
    end = max([duration, *(line.end for line in utterances)])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0"]
    lines += [f"xmax = {end:.{DECIMALS}f}", "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, intervals) in enumerate(tiers.items(), 1):
        rows = list(_fill_gaps(intervals, end))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"']
        lines += [f'        name = "{name}"', "        xmin = 0"]
        lines += [f"        xmax = {end:.{DECIMALS}f}", f"        intervals: size = {len(rows)}"]
        for place, (start, stop, label) in enumerate(rows, 1):
            label = label.replace('"', '""')
            lines += [f"        intervals [{place}]:", f"            xmin = {start:.{DECIMALS}f}"]
            lines += [f"            xmax = {stop:.{DECIMALS}f}", f'            text = "{label}"']
    return "\n".join(lines) + "\n"


def _fill_gaps(
    intervals: Iterable[tuple[float, float, str]], end: float
) -> Iterator[tuple[float, float, str]]:
    """Intervals from 0 to the end without gaps, those without a label between the others."""
    position = 0.0
    for start, stop, label in [*intervals, (end, end, "")]:
        start, stop = round(start, DECIMALS), round(stop, DECIMALS)
        if start > position:
            yield position, start, ""
        if stop > max(start, position):
            yield max(start, position), stop, label
        position = max(position, stop)


def format_json(utterances: Sequence[TimedUtterance], duration: float) -> str:
    """JSON: utterances with their words, and those with their phonemes."""
    lines = [
        {
            **_describe_span(line),
            "text": line.text,
            "speaker": line.speaker,
            "words": [
                {
                    **_describe_span(word),
                    "word": word.text,
                    "phonemes": [
                        {**_describe_span(phoneme), "phoneme": phoneme.symbol}
                        for phoneme in word.phonemes
                    ],
                }
                for word in line.words
            ],
        }
        for line in utterances
    ]
    content = {"duration": duration, "utterances": lines}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _describe_span(span: TimedUtterance | TimedWord | Interval) -> dict[str, float]:
    return {"start": round(span.start, DECIMALS), "end": round(span.end, DECIMALS)}
