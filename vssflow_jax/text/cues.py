"""Times of subtitle cues as speech: each cue as long as its text takes, or as it has room."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import LATENT_RATE
from vssflow_jax.text.alignment import RUSHED, select_voice, text_to_symbols
from vssflow_jax.text.durations import predict_total
from vssflow_jax.text.normalize import REFUSE
from vssflow_jax.text.script import Utterance

PAUSE = 0.12  # seconds between two speakers of one cue, and before the cue behind a longer one
MAX_LISTED = 8  # cues that a message names


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Part:
    """An utterance of a cue: its seconds at a natural pace, and at the fastest one."""

    line: Utterance
    natural: float
    least: float


def skip_late_cues(
    script: Sequence[Utterance], duration: float
) -> tuple[list[Utterance], list[str]]:
    """The script without cues that start behind the end of a clip, and a line about those.

    Raises InputError where none is left.
    """
    last = duration - 1 / LATENT_RATE
    kept = [line for line in script if line.cue is None or line.start < last]
    late = [line for line in script if line.cue is not None and line.start >= last]
    if not late:
        return kept, []
    note = (
        f"{list_cues([line.cue for line in late])} of the subtitles: found a start behind the "
        f"clip's end, {duration:.2f} s"
    )
    if not kept:
        raise InputError(f"--script: {note}, expected at least one cue within the clip")
    return kept, [f"{note}: not spoken"]


def fit_cues(
    script: Sequence[Utterance],
    duration: float | None,
    durations: Mapping[str, float],
    voices: Sequence[np.ndarray | None],
    policy: str = REFUSE,
) -> tuple[list[Utterance], list[str]]:
    """The script with the times that its cues are spoken in, and a line about each longer cue.

    A cue that is longer than its text at a natural pace ends early. A shorter one is spoken up to
    RUSHED times faster; if that does not suffice, it lasts up to its natural length into the gap
    behind it. A cue that the clip's end cuts off is left out if what remains does not suffice.
    Lines of other scripts stay as they are.

    Args:
      script: utterances of cues with a start and an end, in order.
      duration: seconds of the clip; None: as long as the script needs.
      durations: mean seconds by phoneme, or the duration model.
      voices: the embedding of each utterance's voice, None if unknown.
      policy: of characters that cannot be read (text.normalize).

    Raises:
      InputError: cues that have no room for their texts; it lists them.
    """
    if all(line.cue is None for line in script):
        return list(script), []
    parts = [
        _measure(line, select_voice(durations, voice), policy)
        for line, voice in zip(script, voices, strict=True)
    ]
    # Cues of the same start are spoken one after another, as the speakers of one cue are.
    cues = [list(group) for _, group in itertools.groupby(parts, lambda part: part.line.start)]
    limits = [cue[0].line.start for cue in cues[1:]] + [duration or float("inf")]
    fitted, notes, refused = [], [], []
    for cue, limit in zip(cues, limits, strict=True):
        first, pauses = cue[0].line, PAUSE * (len(cue) - 1)
        natural, least = (
            sum(getattr(part, name) for part in cue) + pauses for name in ("natural", "least")
        )
        end = max(part.line.end for part in cue)
        room = min(end, limit) - first.start
        if room < least:
            longest = max(limit - PAUSE - first.start, room)
            if longest < least and duration is not None and end > limit == duration:
                notes.append(
                    f"{first.location}: cut off by the clip's end at {limit:.2f} s: not spoken"
                )
                continue
            if longest < least:
                refused.append(f"{first.cue} (needs {least:.2f} s, has {longest:.2f} s)")
                continue
            room = min(natural, longest)
            notes.append(
                f"{first.location}: its text needs about {natural:.2f} s and has "
                f"{end - first.start:.2f} s: it ends at {first.start + room:.2f} s"
            )
        if first.cue != cue[-1].line.cue:
            notes.append(
                f"{first.location}: found cue {cue[-1].line.cue} at the same time: it is spoken "
                "behind it"
            )
        fitted += _place(cue, room - pauses)
    if refused:
        raise InputError(
            f"--script: found no room for the text of {list_cues(refused)} up to the next cue, "
            "expected longer cues or shorter texts"
        )
    if not fitted:
        raise InputError(f"{'; '.join(notes)}; expected at least one cue within the clip")
    return fitted, notes


def list_cues(numbers: Sequence) -> str:
    """Names cues by their numbers: "cue 3", "cues 3, 4"; the first ones of many."""
    listed = ", ".join(map(str, dict.fromkeys(numbers[:MAX_LISTED])))
    more = f" and {len(numbers) - MAX_LISTED} more" if len(numbers) > MAX_LISTED else ""
    return f"cue{'s' if len(numbers) > 1 else ''} {listed}{more}"


def _measure(line: Utterance, durations: Mapping[str, float], policy: str) -> _Part:
    try:
        symbols, _ = text_to_symbols(line.text, durations, policy)
    except InputError as error:
        raise InputError(f"{line.location}: {error}") from None
    natural = predict_total(symbols, durations)
    # A little above the rate that gets a warning, and a frame a phoneme.
    least = max(natural / RUSHED + 1e-3, (len(symbols) + 1) / LATENT_RATE)
    return _Part(line=line, natural=max(natural, least), least=least)


def _place(cue: Sequence[_Part], room: float) -> list[Utterance]:
    """The utterances of a cue one after another, each between its least and natural length."""
    spare = sum(part.natural - part.least for part in cue)
    share = min(max(room - sum(part.least for part in cue), 0.0) / spare, 1.0) if spare else 0.0
    lines, start = [], cue[0].line.start
    for part in cue:
        end = start + part.least + share * (part.natural - part.least)
        lines.append(dataclasses.replace(part.line, start=start, end=end))
        start = end + PAUSE
    return lines
