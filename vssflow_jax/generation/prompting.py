"""Voice prompts: a recording whose latent and phonemes are the start of every window.

The network then continues the voice of the recording (in-context learning, as VALL-E, arXiv
2301.02111, and F5-TTS, arXiv 2410.06885, do) beside its speaker embedding. The prompt is kept as
`flow.inpainting` keeps frames, and cut off the result.

Legend: P latent frames of the prompt, L of the clip.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import cut_or_pad, to_mono
from vssflow_jax.conditions import LATENT_RATE, SAMPLE_RATE, VIDEO, AudioFormat
from vssflow_jax.text import aligner, normalize
from vssflow_jax.text.alignment import Interval, place_phonemes, text_to_symbols
from vssflow_jax.text.durations import has_tokenizer
from vssflow_jax.text.grid import phonemes_to_frames

MAX_READ = 30.0  # seconds of a recording that are read
MAX_SHARE = 0.5  # of a window that a prompt takes
MULTIPLE = 5  # latent frames: a whole number of frames at 10 and at 25 a second
MIN_SECONDS = 0.6  # of a prompt
MARGIN = 0.1  # seconds of silence that stay before the speech
QUIET = 0.02  # of the peak: samples below it are silence


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoicePrompt:
    """A recording of a voice, and what it says.

    Attributes:
      audio: a media file.
      text: what is said in it.
      track: which audio track of the file, from 1; None: its default one.
    """

    audio: Path
    text: str
    track: int | None = None

    @classmethod
    def parse(
        cls, audio: Path | None, text: str | None, track: int | None = None
    ) -> VoicePrompt | None:
        """The prompt of a caller's arguments; None without a recording.

        Raises:
          InputError: one without the other.
        """
        if audio is None and text is None:
            return None
        if audio is None:
            raise InputError("found --prompt_text without --prompt_audio, expected a recording")
        if not (isinstance(text, str) and text.strip()):
            raise InputError(
                f"--prompt_audio={audio}: found no --prompt_text, expected what is said in it, or "
                "--recognizer=whisper:MODEL, which recognizes it"
            )
        return cls(audio=audio, text=text, track=track)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedPrompt:
    """The start of a recording, as the network takes it.

    Attributes:
      wave: in the codec's format, P latent frames, float32 [n] or [n, A].
      phonemes: ids, int32 [P].
      notes: what reading had to change, and what is left out, a line each.
    """

    wave: np.ndarray
    phonemes: np.ndarray
    notes: Sequence[str]

    @property
    def prefix(self) -> int:
        """P."""
        return len(self.phonemes)

    def find_known_frames(self, num_frames: int) -> np.ndarray:
        """Whether each latent frame is known, bool [num_frames]: the first P."""
        return np.arange(num_frames) < self.prefix

    def pad(self, num_frames: int) -> np.ndarray:
        """The wave with silence up to the end of the latent."""
        return cut_or_pad(self.wave, len(self.wave) // self.prefix * num_frames)

    def mix(self, generated: np.ndarray) -> np.ndarray:
        """The generated sound as it is: nothing of the prompt is in it."""
        return generated

    def describe(self) -> dict:
        """The report of an output, as JSON."""
        return {"prompt_seconds": self.prefix / LATENT_RATE}

    def prepend(self, record: Mapping, rates: Mapping[str, float | None]) -> dict:
        """A record's conditions behind those of the prompt, which is not seen: zeros there."""
        phonemes = record.get("phonemes", np.zeros(0, np.int32))
        out = dict(record) | {"phonemes": np.concatenate([self.phonemes, phonemes])}
        for name in VIDEO:
            if name in record:
                rows = round(self.prefix * rates[name] / LATENT_RATE)
                blank = np.zeros((rows, *record[name].shape[1:]), record[name].dtype)
                out[name] = np.concatenate([blank, record[name]])
        return out


def encode_prompt(
    prompt: VoicePrompt, audio: AudioFormat, window: int, durations: Mapping, policy: str
) -> EncodedPrompt:
    """The start of a prompt's recording, at most half a window.

    Args:
      prompt: of the request.
      audio: the codec's format.
      window: latent frames of the network's longest window.
      durations: place the phonemes where PocketSphinx is not installed or the model takes subwords.
      policy: of characters that cannot be read (text.normalize).

    Raises:
      InputError: a file without speech, a text that cannot be read, or one that says other words.
    """
    place = f"--prompt_audio={prompt.audio}"
    sound = media.read_sound(
        prompt.audio,
        audio.sample_rate,
        seconds=MAX_READ,
        track=prompt.track,
        channels=audio.channels,
    )
    wave = _trim_silence(sound.wave, audio.sample_rate)
    most = int(MAX_SHARE * window) // MULTIPLE * MULTIPLE
    seconds = len(wave) / audio.sample_rate
    num_frames = min(int(seconds * LATENT_RATE) // MULTIPLE * MULTIPLE, most)
    if num_frames < MIN_SECONDS * LATENT_RATE:
        raise InputError(f"{place}: found {seconds:.2f} s of speech, expected {MIN_SECONDS:g} s")
    try:
        intervals, warnings = _align(
            to_mono(wave, audio.sample_rate, SAMPLE_RATE), prompt.text, durations, policy
        )
    except InputError as error:
        raise InputError(f"--prompt_text, {place}: {error}") from None
    notes = [*sound.notes, *(f"--prompt_text: {warning}" for warning in warnings)]
    if seconds - num_frames / LATENT_RATE >= MULTIPLE / LATENT_RATE:
        notes.append(
            f"{place}: found {seconds:.2f} s of speech: the first {num_frames / LATENT_RATE:g} s "
            "are the prompt"
        )
    return EncodedPrompt(
        wave=cut_or_pad(wave, num_frames * audio.sample_rate // LATENT_RATE),
        phonemes=phonemes_to_frames(intervals, num_frames),
        notes=notes,
    )


def _trim_silence(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """The wave without the silence at its ends, but for a margin before the speech."""
    level = np.abs(wave if wave.ndim == 1 else wave.mean(axis=1))
    loud = np.flatnonzero(level > max(QUIET * level.max(initial=0.0), media.AUDIBLE))
    if not len(loud):
        return wave[:0]
    return wave[max(loud[0] - round(MARGIN * sample_rate), 0) : loud[-1] + 1]


def _align(
    wave: np.ndarray, text: str, durations: Mapping, policy: str
) -> tuple[list[Interval], list[str]]:
    """When each phoneme of a text sounds in a recording, and what of the text is left out."""
    if aligner.is_available() and not has_tokenizer(durations):
        words, warnings = normalize.read(text, policy)
        return aligner.align_words(wave, words), warnings
    symbols, warnings = text_to_symbols(text, durations, policy)
    return place_phonemes(symbols, MARGIN, len(wave) / SAMPLE_RATE, durations), warnings
