"""Script files of all kinds to utterances: tables, and subtitles whose speakers have voices."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import find_existing
from vssflow_jax.media import subtitles
from vssflow_jax.text.captions import fold_name, parse_caption, remove_repeated_lines
from vssflow_jax.text.cues import MAX_LISTED, list_cues
from vssflow_jax.text.script import MAX_LINES, Utterance, read_script


def read_script_file(
    path: str | os.PathLike, voices: Mapping[str, Path] | None = None
) -> tuple[list[Utterance], list[str]]:
    """The utterances of a table (.csv) or of subtitles (.srt, .vtt, .ass, .ssa), and notes.

    The notes are lines about what of the file is not spoken, and about speakers and voices without
    each other.

    Args:
      path: the file.
      voices: audio files by the names of their speakers, as `parse_voices` gives them.

    Raises:
      InputError: a file that cannot be read or has nothing to say; it names the file and the place.
    """
    voices = voices or {}
    if not subtitles.is_subtitle_file(path):
        script, notes = read_script(path, voices), []
        _check_recordings(script)
    else:
        try:
            cues, notes = subtitles.read_cues(path)
        except InputError as error:
            raise InputError(f"--script={error}") from None
        script, more = cues_to_utterances(cues, str(path), voices)
        notes += more
    unused = voices.keys() - {fold_name(line.name) for line in script}
    if unused:
        notes.append(f"{path}: found nothing that is said by {', '.join(sorted(unused))} (--voice)")
    return script, notes


def _check_recordings(script: Sequence[Utterance]) -> None:
    """Raises an InputError for the first line of a table whose speaker is no file."""
    for line in script:
        if line.speaker is not None and not line.speaker.is_file():
            raise InputError(
                f"{line.location}, field speaker: found {line.speaker}, no such file, expected a "
                "recording or a name that a --voice has"
            )


def parse_voices(voices: Mapping[str, str | os.PathLike]) -> dict[str, Path]:
    """Audio files by the folded names of their speakers.

    Raises:
      InputError: no such file, a speaker without a name, or one with two voices.
    """
    files: dict[str, Path] = {}
    for name, file in voices.items():
        folded, path = fold_name(name), find_existing(os.path.expanduser(file))
        if not folded or folded in files:
            raise InputError(f"--voice={name}={file}: found a name without letters or a second "
                             "voice of this name, expected NAME=FILE, once a name")  # fmt: skip
        if not path.is_file():
            raise InputError(f"--voice={name}={file}: no such file, expected a recording")
        files[folded] = path
    return files


def cues_to_utterances(
    cues: Sequence[subtitles.Cue], location: str, voices: Mapping[str, Path]
) -> tuple[list[Utterance], list[str]]:
    """What the speakers of cues say, each at the times of its cue, and notes.

    A name in the text counts more than the actor of a SubStation file, and that more than its
    style.

    Raises:
      InputError: nothing to say, or too many cues.
    """
    script: list[Utterance] = []
    omitted: list[str] = []
    repeated: list[int] = []
    seen = set()
    texts = remove_repeated_lines([cue.text for cue in cues])
    for cue, text in zip(cues, texts, strict=True):
        key = (cue.start, cue.end, cue.text)
        if key in seen or text != cue.text:  # layers of one text, lines that roll up
            repeated.append(cue.number)
        text = "" if key in seen else text
        seen.add(key)
        caption = parse_caption(text, voices.keys())
        omitted += [f"cue {cue.number} {text[:60]!r}" for text in caption.omitted]
        for part in caption.parts:
            style = cue.style if fold_name(cue.style) in voices else ""
            name = part.speaker or cue.actor or style
            script.append(
                Utterance(
                    text=part.text,
                    start=cue.start,
                    end=cue.end,
                    speaker=voices.get(fold_name(name)),
                    location=f"--script={location} cue {cue.number}",
                    name=name,
                    cue=cue.number,
                )
            )
    notes = []
    if omitted:
        more = f" and {len(omitted) - MAX_LISTED} more" if len(omitted) > MAX_LISTED else ""
        notes.append(f"{location}: not spoken: {', '.join(omitted[:MAX_LISTED])}{more}")
    if repeated:
        notes.append(f"{location}: found lines that are shown again in {list_cues(repeated)}: they "
                     "are spoken once")  # fmt: skip
    if not 0 < len(script) <= MAX_LINES:
        raise InputError("; ".join([f"--script={location}: found {len(script)} texts that are "
                                    f"spoken, expected 1 to {MAX_LINES}", *notes]))  # fmt: skip
    return script, [*notes, *_describe_speakers(script, location)]


def _describe_speakers(script: Sequence[Utterance], location: str) -> list[str]:
    """A line about the speakers without a voice."""
    named = sorted({line.name for line in script if line.name and line.speaker is None})
    if not named:
        return []
    listed = ", ".join(named[:MAX_LISTED])
    more = f" and {len(named) - MAX_LISTED} more" if len(named) > MAX_LISTED else ""
    return [
        f"{location}: found no --voice for {listed}{more}: spoken in the voice of --speaker, or in "
        "any without it"
    ]
