"""Subwords instead of phonemes, for languages without a pronouncing dictionary.

    python -m vssflow_jax.text.subwords --manifest=clips.csv --out=DIR --vocabulary=120

trains a tokenizer on the transcripts of the training split (sentencepiece's unigram model, Kudo
2018, arXiv 1804.10959) and writes `subwords.model`. With that file next to the manifest, `prepare`
numbers subwords instead of phonemes and spreads them over the time in which somebody speaks, in
proportion to their letters; shards, runs and exports include the tokenizer. The ids share the
phonemes' embedding table: 0 is no speech, which leaves at most 199, so a script of many characters
(Chinese, say) has to be romanized first. Numerals and abbreviations are not read out.
"""

from __future__ import annotations

import functools
import io
import pathlib
import unicodedata
from collections.abc import Iterable

import sentencepiece
from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import replacing
from vssflow_jax.common.tables import parse_header, read_table
from vssflow_jax.conditions import BY_NAME
from vssflow_jax.config import command_line
from vssflow_jax.text.characters import Unreadable, list_characters
from vssflow_jax.text.normalize import REFUSE, SKIP_HINT

MODEL_FILE = "subwords.model"
MAX_VOCABULARY = BY_NAME["phonemes"].width  # id 0 among them: characters that were never seen
SEPARATOR = ":"  # a symbol is the subword's id and its letters, as in "12:▁the"


def normalize_text(text: str) -> str:
    """Lower case in one Unicode form, without punctuation."""
    text = unicodedata.normalize("NFKC", text).casefold()
    characters = (c if c in "'\u2019" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join("".join(characters).replace("\u2019", "'").split())


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> bytes:
    """A sentencepiece model of at most `vocabulary` subwords, serialized.

    Raises InputError for no text, for a vocabulary that is out of range, or smaller than the
    texts' characters need.
    """
    if not 2 <= vocabulary <= MAX_VOCABULARY:
        raise InputError(f"--vocabulary: found {vocabulary}, expected 2 to {MAX_VOCABULARY}")
    sentences = [sentence for sentence in map(normalize_text, texts) if sentence]
    if not sentences:
        raise InputError("subwords: found no text, expected transcripts to learn from")
    needed = len(set("".join(sentences)) - {" "}) + 2  # the sign for a space, and the unknown one
    if needed > vocabulary:
        advice = "" if needed <= MAX_VOCABULARY else f"; {MAX_VOCABULARY} is the most: romanize"
        raise InputError(
            f"--vocabulary: found {vocabulary} for {needed - 2} different characters, expected at "
            f"least {needed}{advice}"
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


@functools.lru_cache(maxsize=4)
def _load_processor(tokenizer: bytes) -> sentencepiece.SentencePieceProcessor:
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"{MODEL_FILE}: found something else, expected a model of subwords"
        ) from error


def vocabulary_size(tokenizer: bytes) -> int:
    """Subwords of a tokenizer."""
    return _load_processor(tokenizer).vocab_size()


def check_tokenizer(tokenizer: bytes) -> None:
    """Raises InputError for bytes that are no sentencepiece model, or one of too many subwords."""
    size = vocabulary_size(tokenizer)
    if size > MAX_VOCABULARY:
        raise InputError(f"{MODEL_FILE}: found {size} pieces, expected at most {MAX_VOCABULARY}")


def select_readable(tokenizer: bytes, text: str, policy: str = REFUSE) -> tuple[str, list[str]]:
    """The text without signs and, if the policy is to skip them, unknown letters; and warnings.

    Raises InputError for characters that the training texts do not have, if the policy is to
    refuse them.
    """
    processor, text = _load_processor(tokenizer), unicodedata.normalize("NFC", text)
    signs, unknown = [], []
    for place, character in enumerate(text, 1):
        plain = normalize_text(character)
        if not plain and unicodedata.category(character)[0] == "S":
            signs.append(Unreadable(character, place))
        elif plain and processor.unk_id() in processor.encode(plain):
            unknown.append(Unreadable(character, place))
    warnings = [f"text: left out {list_characters(signs)}: not letters"] if signs else []
    if not unknown:
        return text, warnings
    listed = f"{list_characters(unknown)}, expected characters of the training texts"
    if policy == REFUSE:
        raise InputError(f"text: found {listed}{SKIP_HINT}")
    skipped = set(unknown)
    kept = (" " if Unreadable(c, place) in skipped else c for place, c in enumerate(text, 1))
    return "".join(kept), [f"text: skipped {listed}", *warnings]


def tokenize(tokenizer: bytes, text: str) -> list[str]:
    """Symbols of a text, id and letters each. Raises InputError for characters it never saw."""
    processor, text = _load_processor(tokenizer), normalize_text(text)
    if not text:
        raise InputError("text: found no words, expected something to say")
    ids = processor.encode(text)
    if processor.unk_id() in ids:
        select_readable(tokenizer, text)  # names them
        raise InputError("text: found unknown characters, expected those of the training texts")
    return [f"{number}{SEPARATOR}{processor.id_to_piece(number)}" for number in ids]


def detokenize(tokenizer: bytes, ids: Iterable[int]) -> str:
    """The text of subword ids."""
    return _load_processor(tokenizer).decode(list(map(int, ids)))


def read_tokenizer(source: str | pathlib.Path) -> bytes:
    """The tokenizer next to a manifest or in a folder of clips; empty if there is none."""
    path = pathlib.Path(source)
    path = (path if path.is_dir() else path.parent) / MODEL_FILE
    return path.read_bytes() if path.is_file() else b""


def read_transcripts(manifest: str | pathlib.Path) -> list[str]:
    """The texts of a manifest's training split."""
    path = pathlib.Path(manifest)
    table = read_table(path, "a manifest (clips.csv)")
    header = parse_header(next(table, (1, []))[1])
    if not {"text", "split"} <= set(header):
        raise InputError(f"{path} row 1: found no columns text and split, expected both")
    texts = []
    for line, cells in table:
        if len(cells) != len(header):
            raise InputError(
                f"{path} row {line}: found {len(cells)} fields, expected {len(header)}"
            )
        row = dict(zip(header, cells, strict=True))
        if row["split"].strip() == "train" and row["text"].strip():
            texts.append(row["text"].strip())
    if not texts:
        raise InputError(f"{path}, field text: found none in the training split, expected some")
    return texts


def define_flags() -> None:
    """The flags of this command."""
    command_line.define_path("manifest", None, "Manifest with the transcripts.", required=True)
    command_line.define_path(
        "out", None, f"Folder for {MODEL_FILE}: the manifest's.", required=True
    )
    flags.DEFINE_integer("vocabulary", 120, f"Most subwords, up to {MAX_VOCABULARY}.")


def main() -> None:
    """Trains a tokenizer as the flags say."""
    options = flags.FLAGS
    texts = read_transcripts(options.manifest)
    tokenizer = train_tokenizer(texts, options.vocabulary)
    path = pathlib.Path(options.out) / MODEL_FILE
    with replacing(path) as partial:
        partial.write_bytes(tokenizer)
    example = " ".join(s.partition(SEPARATOR)[2] for s in tokenize(tokenizer, texts[0]))
    print(f"{path}: {vocabulary_size(tokenizer)} pieces of {len(texts)} texts, as: {example}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
