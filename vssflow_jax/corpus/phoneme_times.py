"""Times of a text's phonemes, transferred from the synthesizer's sounds to CMUdict's symbols.

eSpeak's accents say other sounds than CMUdict lists (no R in "four", a flap in "at"), while a
model is asked for words by CMUdict. Both sequences of one word are aligned by dynamic programming
(Needleman and Wunsch 1970), and the times go over to CMUdict's symbols.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from vssflow_jax.text import espeak

VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"}
SAME, SAME_KIND, OTHER_KIND, SKIP = 0.0, 1.0, 3.0, 1.6
BREAK = 0.08  # seconds
MERGED = ({"AA", "AO"}, {"IH", "IY"}, {"UH", "UW"}, {"UH", "AO"}, {"AE", "EH"}, {"TH", "DH"})

Sound = tuple[float, float, str]  # start and end in seconds, ARPAbet symbol


def list_sounds(phones: Sequence[espeak.Phone]) -> list[Sound]:
    """ARPAbet symbols with times; a mnemonic that stands for two symbols is cut in the middle."""
    spans = []
    for phone in phones:
        symbols = espeak.to_arpabet(phone.mnemonic)
        step = (phone.end - phone.start) / max(len(symbols), 1)
        for k, symbol in enumerate(symbols):
            spans.append((phone.start + k * step, phone.start + (k + 1) * step, symbol))
    return spans


def measure_distance(a: str, b: str) -> float:
    """Cost of hearing `a` for `b`: none if only the stress differs, more across vowel/consonant."""
    a, b = a.rstrip("012"), b.rstrip("012")
    if a == b:
        return SAME
    return SAME_KIND if (a in VOWELS) == (b in VOWELS) else OTHER_KIND


def align_symbols(
    spoken: Sequence[str], expected: Sequence[str]
) -> list[tuple[int | None, int | None]]:
    """Cheapest alignment: indices in `spoken` and in `expected`, in order; None: skipped."""
    rows, columns = len(spoken) + 1, len(expected) + 1
    cost = [[(i + j) * SKIP for j in range(columns)] for i in range(rows)]
    for i in range(1, rows):
        for j in range(1, columns):
            both = cost[i - 1][j - 1] + measure_distance(spoken[i - 1], expected[j - 1])
            cost[i][j] = min(both, cost[i - 1][j] + SKIP, cost[i][j - 1] + SKIP)
    i, j, path = len(spoken), len(expected), []
    while i or j:
        matched = i and j and cost[i - 1][j - 1] + measure_distance(spoken[i - 1], expected[j - 1])
        if i and j and cost[i][j] == matched:
            i, j = i - 1, j - 1
            path.append((i, j))
        elif i and cost[i][j] == cost[i - 1][j] + SKIP:
            i -= 1
            path.append((i, None))
        else:
            j -= 1
            path.append((None, j))
    return path[::-1]


def agree(spoken: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether `spoken` is a usual way to say `expected`.

    Stress may differ, and so may unstressed vowels (an AH for an IH, or none), vowels that many
    speakers do not tell apart, and TH and DH.
    """
    for i, j in align_symbols(spoken, expected):
        a = None if i is None else spoken[i]
        b = None if j is None else expected[j]
        bare = {s.rstrip("012") for s in (a, b) if s}
        weak = any(s is not None and s.endswith("0") for s in (a, b)) and bare <= VOWELS
        if not (weak or (a and b and len(bare) == 1) or bare in MERGED):
            return False
    return True


def align_word(spoken: Sequence[Sound], expected: Sequence[str]) -> list[Sound]:
    """`expected` symbols of one word with the times of its `spoken` sounds.

    A sound without a symbol lengthens the symbol before it (the one after it, at the start); a
    symbol without a sound shares the time of the one before it (after it, at the start).
    """
    groups: list[tuple[list[int], list[int]]] = []  # sounds and symbols that share their time
    for sound, symbol in align_symbols([s[2] for s in spoken], expected):
        complete = bool(groups) and bool(groups[-1][0]) and bool(groups[-1][1])
        if not groups or (complete and sound is not None and symbol is not None):
            groups.append(([], []))
        groups[-1][0].extend([] if sound is None else [sound])
        groups[-1][1].extend([] if symbol is None else [symbol])
    spans = []
    for indices, symbols in groups:
        start, end = spoken[indices[0]][0], spoken[indices[-1]][1]
        step = (end - start) / len(symbols)
        for k, symbol in enumerate(symbols):
            spans.append((start + k * step, start + (k + 1) * step, expected[symbol]))
    return spans


def align_words(
    phones: Sequence[espeak.Phone], pronunciations: Sequence[Sequence[str]]
) -> list[Sound]:
    """The symbols of all words of an utterance, each with its interval.

    A word without sounds of its own shares those of the word before it: eSpeak says some pairs,
    such as "of the", as one word. Pauses stay uncovered, except for breaks shorter than `BREAK`
    (the hiatus in "three again"), through which the sound before them goes on.

    Raises:
      ValueError: the synthesizer said nothing for the first word.
    """
    groups: list[tuple[list, list[str]]] = []
    for index, expected in enumerate(pronunciations):
        spoken = list_sounds([phone for phone in phones if phone.word == index])
        if spoken:
            groups.append((spoken, [*expected]))
        elif groups:
            groups[-1][1].extend(expected)
        else:
            raise ValueError(f"no sound for word {index} of the utterance")
    spans = [span for spoken, expected in groups for span in align_word(spoken, expected)]
    return close_breaks(spans)


def close_breaks(sounds: Sequence[Sound]) -> list[Sound]:
    """Sounds that go on through breaks shorter than `BREAK` to the next one."""
    closed = list(sounds)
    for k, (before, after) in enumerate(itertools.pairwise(closed)):
        if after[0] - before[1] < BREAK:
            closed[k] = (before[0], after[0], before[2])
    return closed
