"""Subwords in the phonemes' place, for languages without a pronouncing dictionary.

    python -m vssflow_jax.text.subwords --manifest=clips.csv --out=DIR --vocabulary=120

learns pieces of words from the transcripts of the training split (sentencepiece's unigram model,
Kudo 2018, arXiv 1804.10959) and writes `subwords.model`. Beside a manifest that file makes
`prepare` number pieces instead of phonemes, spread over the time in which somebody speaks in
proportion to their letters; shards, runs and exports carry it along. The numbers share the
phonemes' embedding: 0 is no speech, at most 199 are left, so a script of many characters (Chinese,
say) has to be romanised first. Numerals and abbreviations are not read out.
"""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import io
import pathlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import sentencepiece
from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import replacing
from vssflow_jax.conditions import BY_NAME
from vssflow_jax.config import command_line

FILE = "subwords.model"
LARGEST = BY_NAME["phonemes"].width  # number 0 among them: characters that were never seen
Network = Callable[[Sequence[str], np.ndarray | None], list[float]]
SEPARATOR = ":"  # a symbol is the piece's number and its letters, as in "12:▁the"


def plain(text: str) -> str:
    """Lower case in one Unicode form, without punctuation."""
    text = unicodedata.normalize("NFKC", text).casefold()
    kept = (c if c in "'\u2019" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join("".join(kept).replace("\u2019", "'").split())


def train(texts: Iterable[str], vocabulary: int) -> bytes:
    """A model of at most `vocabulary` pieces.

    Raises InputError for no text, for a vocabulary that is out of range, or smaller than the
    texts' characters need.
    """
    if not 2 <= vocabulary <= LARGEST:
        raise InputError(f"--vocabulary: found {vocabulary}, expected 2 to {LARGEST}")
    sentences = [sentence for sentence in map(plain, texts) if sentence]
    if not sentences:
        raise InputError("subwords: found no text, expected transcripts to learn from")
    needed = len(set("".join(sentences)) - {" "}) + 2  # the space's sign, and what is unknown
    if needed > vocabulary:
        raise InputError(
            f"--vocabulary: found {vocabulary} for {needed - 2} different characters, expected at "
            f"least {needed}" + ("" if needed <= LARGEST else f"; {LARGEST} is the most: romanise")
        )
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=vocabulary,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


class Pace(dict):
    """Mean seconds by symbol, and whose symbols they are: phonemes, or the pieces of a model.

    Args:
      durations: mean seconds by symbol; may be empty.
      model: of sentencepiece; empty: phonemes.
      network: what says the seconds of symbols in a voice (None: an unknown one), if anything.
      voice: the embedding of who speaks, if known.

    Raises:
      InputError: bytes that are no model, or one with too many pieces.
    """

    def __init__(
        self,
        durations: Mapping[str, float],
        model: bytes = b"",
        network: Network | None = None,
        voice: np.ndarray | None = None,
    ):
        super().__init__(durations)
        self.model, self.network, self.voice = model, network, voice
        if model and _processor(model).vocab_size() > LARGEST:
            raise InputError(f"{FILE}: found {_processor(model).vocab_size()} pieces, expected at "
                             f"most {LARGEST}")  # fmt: skip

    def __reduce__(self):
        return Pace, (dict(self), self.model)

    @classmethod
    def of(cls, statistics: Mapping) -> Pace:
        """As the statistics of a data set say."""
        model = base64.b64decode(statistics.get("subwords", ""))
        return cls(statistics.get("phoneme_durations", {}), model)

    @property
    def statistics(self) -> dict:
        """What `of` takes, for JSON."""
        coded = {"subwords": base64.b64encode(self.model).decode()} if self.model else {}
        return {"phoneme_durations": dict(self)} | coded

    @property
    def hash(self) -> str:
        """Identity of the model; empty for phonemes."""
        return hashlib.sha256(self.model).hexdigest()[:16] if self.model else ""

    def of_voice(self, voice: np.ndarray | None) -> Pace:
        """The pace of a voice."""
        return Pace(self, self.model, self.network, voice)

    def learned(self, symbols: Sequence[str]) -> list[float] | None:
        """Seconds of each symbol by the network; None where the table is to say them.

        The network is better where it knows the voice; the table, if there is one, where not.
        """
        if self.network is None or (self.voice is None and self):
            return None
        return self.network(symbols, self.voice)

    def pieces(self, text: str) -> list[str]:
        """Symbols of a text. Raises InputError for characters that the model never saw."""
        processor, text = _processor(self.model), plain(text)
        if not text:
            raise InputError("text: found no words, expected something to say")
        numbers = processor.encode(text)
        if processor.unk_id() in numbers:
            unknown = sorted({c for c in text if c != " " and processor.unk_id() in
                              processor.encode(c)})  # fmt: skip
            listed = ", ".join(map(repr, unknown[:8]))
            raise InputError(f"text: found {listed}, expected characters of the training texts")
        return [f"{number}{SEPARATOR}{processor.id_to_piece(number)}" for number in numbers]

    def text(self, numbers: Iterable[int]) -> str:
        """The text of pieces' numbers."""
        return _processor(self.model).decode(list(map(int, numbers)))


@functools.lru_cache(maxsize=4)
def _processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{FILE}: found something else, expected a model of subwords") from error


def beside(source: str | pathlib.Path) -> bytes:
    """The model beside a manifest or in a folder of clips; empty where there is none."""
    path = pathlib.Path(source)
    path = (path if path.is_dir() else path.parent) / FILE
    return path.read_bytes() if path.is_file() else b""


def transcripts(manifest: str | pathlib.Path) -> list[str]:
    """The texts of a manifest's training split."""
    path = pathlib.Path(manifest)
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a manifest (clips.csv)") from None
    except (UnicodeDecodeError, IsADirectoryError, csv.Error):
        raise InputError(f"{path}: found no table, expected a manifest (clips.csv)") from None
    if rows and not {"text", "split"} <= rows[0].keys():
        raise InputError(f"{path} row 1: found no columns text and split, expected both")
    texts = [row["text"] for row in rows if row["split"] == "train" and row["text"]]
    if not texts:
        raise InputError(f"{path}, field text: found none in the training split, expected some")
    return texts


def define_flags() -> None:
    """The flags of this command."""
    flags.DEFINE_string("manifest", None, "Manifest with the transcripts.", required=True)
    flags.DEFINE_string("out", None, f"Folder for {FILE}: the manifest's.", required=True)
    flags.DEFINE_integer("vocabulary", 120, f"Pieces at most, up to {LARGEST}.")


def main() -> None:
    """Flags in, a model out."""
    given = flags.FLAGS
    texts = transcripts(given.manifest)
    model = train(texts, given.vocabulary)
    path = pathlib.Path(given.out) / FILE
    with replacing(path) as partial:
        partial.write_bytes(model)
    count = Pace({}, model)
    example = " ".join(piece.partition(SEPARATOR)[2] for piece in count.pieces(texts[0]))
    print(f"{path}: {_processor(model).vocab_size()} pieces of {len(texts)} texts, as: {example}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
