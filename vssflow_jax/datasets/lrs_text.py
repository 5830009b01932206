"""The transcripts of LRS2 and LRS3: `Text:`, `Conf:`, and tables of words and faces."""

from __future__ import annotations

import dataclasses
import re

from vssflow_jax.common.errors import InputError
from vssflow_jax.datasets.interface import read_lines
from vssflow_jax.text.alignment import WordInterval

WORD_HEADER = ("WORD", "START", "END")
FACE_HEADER = ("FRAME", "X", "Y")
_FIELD = re.compile(r"(Text|Conf|Ref):\s*(.*)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LrsTranscript:
    """A transcript.

    Attributes:
      text: what is said, in lower case.
      words: when each word is said, if the file has the table.
      reference: id of the video, if the file names it.
      has_braces: whether words stood in braces, as sounds and uncertain words do.
    """

    text: str
    words: tuple[WordInterval, ...] = ()
    reference: str = ""
    has_braces: bool = False


def read_lrs_transcript(path: str) -> LrsTranscript:
    """Reads a transcript; its sections are known by their header lines.

    Raises:
      InputError: no line `Text:`, or a table of words that is none.
    """
    fields: dict[str, str] = {}
    words: list[WordInterval] = []
    section: tuple[str, ...] = ()
    for line in read_lines(path):
        field, cells = _FIELD.fullmatch(line), line.split()
        if tuple(cells[:3]) in (WORD_HEADER, FACE_HEADER):
            section = tuple(cells[:3])
        elif field and not section:
            fields[field[1]] = field[2].strip()
        elif section == WORD_HEADER:
            words.append(_parse_word(path, cells))
    if not fields.get("Text"):
        raise InputError(f"{path}: found no line Text:, expected a transcript")
    text = fields["Text"]
    return LrsTranscript(
        text=_clean(text),
        words=tuple(word for word in words if word.text),
        reference=fields.get("Ref", ""),
        has_braces="{" in text,
    )


def _parse_word(path: str, cells: list[str]) -> WordInterval:
    try:
        return WordInterval(float(cells[1]), float(cells[2]), _clean(cells[0]))
    except (ValueError, IndexError):
        raise InputError(
            f"{path}: found {' '.join(cells)[:40]!r}, expected word, start, end"
        ) from None


def _clean(text: str) -> str:
    return " ".join(re.sub(r"[{}]", "", text).lower().split())
