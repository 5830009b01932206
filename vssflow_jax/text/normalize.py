"""Text as people type it to the words that are spoken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from num2words import num2words

from vssflow_jax.common.errors import InputError
from vssflow_jax.text.characters import Unreadable, list_characters, read_characters
from vssflow_jax.text.verbalize import Omission, verbalize
from vssflow_jax.text.verbalize.abbreviations import LETTER_A
from vssflow_jax.text.verbalize.roman import read_behind_noun

VERSION = 5  # of the words that a text gives; part of the keys of shards
REFUSE, SKIP = "refuse", "skip"
POLICIES = (REFUSE, SKIP)  # for characters that cannot be read
SKIP_HINT = " (--text_policy=skip leaves others out)"  # of errors, where a command has the flag

MAX_CHARACTERS = 200_000  # of a text: some three hours of speech
MAX_LISTED = 4  # omissions that a warning names

# Behind a preposition and before a digit, A is a letter unless a noun follows ("at a nine now").
# Words of the last set show that none does.
PREPOSITIONS = {"at", "by", "in", "near", "on", "with"}
DIGITS = {num2words(digit) for digit in range(10)}
NOT_NOUNS = {"again", "here", "now", "please", "soon", "then", "there"}

_WORD = re.compile(r"[A-Za-z']+")
# An A that begins a sentence, a quotation or a line, where the article has a capital as well. Runs
# have a limit, without which the time grows with the square of their length.
_FIRST_ARTICLE = re.compile(r"""([.!?:;"(\n]["')]?[\s"'(]{0,20}|\s-\s{1,20})A(?=\s+[A-Za-z])""")
_SMALL_LETTERS = re.compile("[A-Za-z][a-z]")


class Reading(NamedTuple):
    """What is said of a text: its words, and a line about what of it is not said."""

    words: list[str]
    warnings: list[str]


def check_policy(policy: str) -> None:
    """Raises InputError for a policy that there is not."""
    if policy not in POLICIES:
        raise InputError(f"--text_policy: found {policy!r}, expected {' or '.join(POLICIES)}")


def words(text: str, policy: str = REFUSE) -> list[str]:
    """The words of `read`, without its warnings."""
    return read(text, policy).words


def read(text: str, policy: str = REFUSE) -> Reading:
    """Spoken words of `text`: lower case, letters and apostrophes only; the letter A is `a.`.

    Numbers, dates, times, money, units, abbreviations and web addresses are read out in English
    (see `verbalize`); accents are removed; punctuation is dropped. Emoji, musical signs, stage
    directions in brackets and emoticons are not said, since an actor would not say them; a
    warning names them.

    Args:
      text: in one line or more.
      policy: of characters that English has no sounds for, such as those of other scripts:
        "refuse" raises an error, "skip" leaves them out with a warning.

    Raises:
      InputError: nothing to say, more than MAX_CHARACTERS, or characters that cannot be read, each
        with its name and place.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"text: found {len(text)} characters, expected at most {MAX_CHARACTERS}")
    plain = read_characters(text)
    if plain.unreadable and policy == REFUSE:
        raise InputError(
            f"text: found {list_characters(plain.unreadable)} in {_shorten(text)}, expected "
            f"characters that can be pronounced in English{SKIP_HINT}"
        )
    spoken, omissions = verbalize(plain.text)
    spoken = _FIRST_ARTICLE.sub(r"\1a", spoken)
    is_mixed = _SMALL_LETTERS.search(plain.text) is not None
    spoken_words = _mark_letters(_read_numerals(_split_words(spoken)), is_mixed)
    warnings = _describe(plain.pictures, plain.unreadable, omissions)
    if not spoken_words:
        reason = "".join(f"; {warning.removeprefix('text: ')}" for warning in warnings)
        raise InputError(
            f"text: found no words in {_shorten(text)}, expected something to say{reason}"
        )
    return Reading(spoken_words, warnings)


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _describe(
    pictures: Sequence[Unreadable], unreadable: Sequence[Unreadable], omissions: Sequence[Omission]
) -> list[str]:
    """A line on each kind of thing that is left out."""
    lines = []
    if unreadable:
        lines.append(f"text: skipped {list_characters(unreadable)}: not readable in English")
    if pictures:
        lines.append(f"text: left out {list_characters(pictures)}: signs that are not spoken")
    if omissions:
        listed = ", ".join(f"{_shorten(one.text)} ({one.kind})" for one in omissions[:MAX_LISTED])
        more = f" and {len(omissions) - MAX_LISTED} more" if len(omissions) > MAX_LISTED else ""
        lines.append(f"text: left out {listed}{more}: not spoken")
    return lines


def _split_words(text: str) -> list[str]:
    """Words without marks; a letter A that is already marked stays `a.`."""
    tokens = []
    for chunk in text.split():
        if chunk == LETTER_A:
            tokens.append(chunk)
        else:
            tokens += [word.strip("'") for word in _WORD.findall(chunk)]
    return [token for token in tokens if token]


def _read_numerals(tokens: list[str]) -> list[str]:
    """Roman numerals behind the nouns that they count, in small letters as well."""
    pairs = zip(["", *tokens], tokens, strict=False)
    numbered = (read_behind_noun(before.capitalize(), word) for before, word in pairs)
    return [word for words_read in numbered for word in words_read.replace("-", " ").split()]


def _mark_letters(tokens: list[str], is_mixed: bool) -> list[str]:
    """Lower case; an A that is a letter, not the article, becomes `a.`."""
    return [
        LETTER_A if _is_letter_a(tokens, place, is_mixed) else word.lower()
        for place, word in enumerate(tokens)
    ]


def _is_letter_a(tokens: list[str], place: int, is_mixed: bool) -> bool:
    """Whether a word is the letter A; `is_mixed`: the text has words in lower case.

    It is: in capitals within a sentence ("vitamin A is"), at the end, behind another single
    letter ("u s a"), and as a label with a number ("at a nine now").
    """
    word = tokens[place]
    if word.lower() != "a" or not place:
        return False
    before = tokens[place - 1].lower()
    after = [later.lower() for later in tokens[place + 1 : place + 3]]
    behind_letter = len(before) == 1 and before != "i"
    is_label = (
        before in PREPOSITIONS and len(after) == 2 and after[0] in DIGITS and after[1] in NOT_NOUNS
    )
    return not after or (word == "A" and is_mixed) or behind_letter or is_label
