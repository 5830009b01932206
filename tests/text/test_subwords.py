"""Subwords: trained from a manifest, through prepared clips, to the grid and back."""

import json
import pickle
import unicodedata

import numpy as np
import pytest
from helpers import fixtures, in_process

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import shards
from vssflow_jax.preparation import prepare
from vssflow_jax.text import alignment, normalize, phonemes, subwords
from vssflow_jax.text.durations import DurationModel
from vssflow_jax.text.grid import phonemes_to_frames

TEXTS = (
    "der schnelle braune Fuchs springt über den faulen Hund",
    "heute ist schönes Wetter und morgen regnet es",
    "die Straße ist lang und die Nacht ist kurz",
    "über sieben Brücken musst du gehn",
    "mañana será otro día, señor",
)


@pytest.fixture(scope="module")
def model():
    return DurationModel({}, subwords.train_tokenizer(TEXTS, 60))


@pytest.mark.parametrize("text", [*TEXTS, "  Über  DIE Straße!  "])
def test_texts_come_back_from_their_numbers(model, text):
    pieces = subwords.tokenize(model.tokenizer, text)
    numbers = phonemes.symbols_to_ids(pieces)
    assert numbers.min() > 0 and numbers.max() < subwords.MAX_VOCABULARY == 200
    assert subwords.detokenize(model.tokenizer, numbers) == subwords.normalize_text(text)


def test_pieces_are_longer_than_letters_and_training_is_repeatable(model):
    assert len(subwords.tokenize(model.tokenizer, TEXTS[2])) < len(TEXTS[2]) * 0.9
    assert subwords.train_tokenizer(TEXTS, 60) == model.tokenizer
    assert subwords.tokenize(
        pickle.loads(pickle.dumps(model)).tokenizer, TEXTS[0]
    ) == subwords.tokenize(model.tokenizer, TEXTS[0])
    again = DurationModel.from_statistics(json.loads(json.dumps(model.statistics)))
    assert again.tokenizer == model.tokenizer and again.tokenizer_hash == model.tokenizer_hash != ""


def test_a_text_is_spread_by_its_letters(model):
    intervals, _ = alignment.align_text(TEXTS[1], 1.0, 3.0, 4.0, model)
    assert [i.symbol for i in intervals] == subwords.tokenize(model.tokenizer, TEXTS[1])
    assert intervals[0].start == 1.0 and intervals[-1].end == 3.0
    letters = [len(i.symbol.partition(":")[2]) for i in intervals]
    seconds = np.array([i.end - i.start for i in intervals])
    np.testing.assert_allclose(seconds / letters, 2.0 / sum(letters), rtol=1e-6)
    grid = phonemes_to_frames(intervals, 100)
    assert not grid[:24].any() and grid[25:75].all() and not grid[76:].any()


@pytest.mark.parametrize(
    ("texts", "vocabulary", "message"),
    [
        ((), 60, "found no text"),
        (("...",), 60, "found no text"),
        (TEXTS, 10, "found 10 for 2. different characters, expected at least"),
        (TEXTS, 201, "--vocabulary: found 201, expected 2 to 200"),
        (("".join(map(chr, range(0x4E00, 0x4F00))),), 200, "200 is the most: romanize"),
    ],
)
def test_what_cannot_be_learned_is_said(texts, vocabulary, message):
    with pytest.raises(InputError, match=message):
        subwords.train_tokenizer(texts, vocabulary)


def test_unknown_characters_and_broken_models_are_named(model):
    with pytest.raises(InputError, match=r"'世' \(CJK .*, character 5\), 'ж' .*training texts"):
        subwords.tokenize(model.tokenizer, "die 世 ж")
    with pytest.raises(InputError, match="no words"):
        subwords.tokenize(model.tokenizer, "?!")
    with pytest.raises(InputError, match=r"subwords\.model: found something else"):
        DurationModel({}, b"no model")


def test_unknown_characters_are_skipped_and_signs_left_out_with_a_warning(model):
    text, warnings = subwords.select_readable(model.tokenizer, "die 世 ♪", normalize.SKIP)
    assert text.split() == ["die", "♪"]
    assert "skipped '世' (CJK" in warnings[0] and "left out '♪' (EIGHTH NOTE" in warnings[1]
    decomposed = unicodedata.normalize("NFD", TEXTS[0])
    assert subwords.select_readable(model.tokenizer, decomposed)[1] == []


def manifest(folder, texts):
    rows = []
    for k, text in enumerate(texts):
        media.write_wav(folder / f"{k}.wav", fixtures.make_tone(4.0), 16_000)
        rows.append(f'{k},{k}.wav,"{text}",{"test" if k == 0 else "train"},speech')
    (folder / "clips.csv").write_text("\n".join(["id,audio,text,split,task", *rows]) + "\n")
    return folder / "clips.csv"


def test_the_command_then_prepare_then_times(tmp_path):
    unseen = "die Straße und die Nacht"
    table = manifest(tmp_path, (unseen, *TEXTS))
    done = in_process.run(
        "text.subwords", f"--manifest={table}", f"--out={tmp_path}", "--vocabulary=70"
    )
    assert done.returncode == 0 and "pieces of 5 texts, as: ▁" in done.stdout
    prepare.prepare(table, tmp_path / "shards", workers=0, progress=False)
    info = shards.load_dataset_info(tmp_path / "shards")
    assert info["features"]["phonemes"]["encoder"] == "subwords"
    model = DurationModel.from_statistics(info["statistics"])
    (record,) = shards.open_split(tmp_path / "shards", "test")
    spoken = record["phonemes"][record["phonemes"] > 0]
    steps = spoken[np.flatnonzero(np.diff(spoken, prepend=-1))]
    assert subwords.detokenize(model.tokenizer, steps).replace(" ", "") == subwords.normalize_text(
        unseen
    ).replace(" ", "")
    assert record["meta"]["times"] == "predicted"
    prediction = alignment.predict_alignment(record["meta"], model)
    assert [i.symbol for i in prediction] == subwords.tokenize(model.tokenizer, unseen)


def test_the_commands_mistakes_are_one_line(tmp_path):
    table = manifest(tmp_path, TEXTS[:2])
    (tmp_path / "bad.csv").write_text("id,words\n1,a\n")
    for flags, message in {
        (f"--manifest={tmp_path / 'none.csv'}",): "no such file, expected a manifest",
        (f"--manifest={tmp_path / 'bad.csv'}",): "found no columns text and split",
        (f"--manifest={table}", "--vocabulary=5"): "--vocabulary: found 5 for",
    }.items():
        done = in_process.run("text.subwords", *flags, f"--out={tmp_path / 'out'}")
        assert done.returncode == 2 and done.stderr.startswith("error: ")
        assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
