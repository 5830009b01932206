"""Scores of sentences that a run speaks: voices, ceilings, floors, what is written."""

import csv
import json

import numpy as np
import pytest
from helpers import in_process
from helpers.synthetic_audio import reference_voice

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import sentences, voices
from vssflow_jax.evaluation import evaluator
from vssflow_jax.evaluation.metrics import asr
from vssflow_jax.generation import scoring, sentence_scoring
from vssflow_jax.generation.sentence_scoring import SentenceOptions, evaluate_sentences

LINES = ("The knight sees us.", "Come here now.", "Two of them.")


class Ears:
    """A recognizer that writes down the same words, whatever it hears."""

    name, version = "ears", "1"

    def rejects(self, text):
        return "too few words" if len(text.split()) < 3 else None

    def transcribe(self, waves):
        return ["the night sees us" for _ in waves]


@pytest.fixture(scope="module")
def evaluated(tiny_run, tmp_path_factory):
    """Scores of a tiny run on two lines in two voices, one of which a voice set has; the folder."""
    folder = tmp_path_factory.mktemp("sentences")
    (folder / "lines.txt").write_text("\n".join(LINES))
    media.write_wav(folder / "visitor.wav", reference_voice("ben"))
    options = SentenceOptions(
        workdir=tiny_run,
        sentences=str(folder / "lines.txt"),
        speakers=["ada", folder / "visitor.wav"],
        voices="espeak",
        out=folder / "scores",
        clips=2,
        seed=5,
        scales={"phonemes": 2.0},
        recognizer="ears",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asr, "load", lambda spec: Ears())
        patch.setattr(scoring, "BATCH_SIZE", 2)
        patch.setattr(evaluator, "BATCH_SIZE", 2)
        return folder / "scores", evaluate_sentences(options)


def test_each_voice_and_all_together_have_scores(evaluated):
    folder, metrics = evaluated
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert set(metrics) == {"text", "voices", "run"}
    assert set(metrics["voices"]) == {"ada", "visitor"}
    for scores in metrics["voices"].values():
        assert scores["clips"] == 2
        assert scores["wer"] == pytest.approx(5 / 7)  # 1 of 4 words, then all of 3 and one more
        assert scores["wer_homophones_equal"] == pytest.approx(4 / 7)
        assert scores["wer_ci95"][0] <= scores["wer"] <= scores["wer_ci95"][1]
        assert -1 <= scores["dvector_similarity"] <= 1
    assert metrics["text"]["clips"] == 4
    assert metrics["text"]["skipped"] == []


def test_the_voice_of_a_set_has_ceiling_floor_and_other_voices(evaluated):
    _, metrics = evaluated
    known, visitor = metrics["voices"]["ada"], metrics["voices"]["visitor"]
    assert known["wer_ceiling"] == known["wer_floor"] == pytest.approx(5 / 7)
    assert len(known["dvector_similarity_ceiling_ci95"]) == 2
    assert known["dvector_similarity_ceiling"] > known["dvector_other_voice"]
    assert len(known["dvector_other_voice_ci95"]) == 2
    assert not [name for name in visitor if name.endswith(("_floor", "_ceiling", "other_voice"))]


def test_the_run_says_what_reproduces_the_scores(evaluated):
    folder, metrics = evaluated
    run = metrics["run"]
    assert run["sentences"]["number"] == 2
    assert run["speakers"] == ["ada", "visitor"]
    assert run["ceiling_voices"] == {"ada": "ada"}
    assert (run["seed"], run["checkpoint"], run["times"]) == (5, 6, "predicted")
    assert [["phonemes"], 2.0] in run["guidance"]
    assert run["recognizer"]["name"] == "ears"
    assert "contractions" in run["recognizer"]["normalization"]
    assert {"solver", "steps", "guidance", "versions", "date", "config_hash"} <= set(run)
    assert "wer_homophones_equal" in json.loads((folder / "protocol.json").read_text())["metrics"]


def test_every_sentence_has_a_row_and_a_wave(evaluated):
    folder, _ = evaluated
    with (folder / "examples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [
        "ada-0000", "ada-0001", "visitor-0000", "visitor-0001",
    ]  # fmt: skip
    assert [row["text"] for row in rows] == [*LINES[:2], *LINES[:2]]
    assert rows[0]["hypothesis"] == "the night sees us"
    assert (rows[0]["errors"], rows[0]["errors_homophones_equal"]) == ("1", "0")
    assert rows[0]["errors_ceiling"] == "1"
    assert rows[2]["errors_ceiling"] == ""
    for row in rows:
        assert len(media.read_audio(folder / "generated" / "text" / f"{row['id']}.wav"))
    truths = {path.stem for path in (folder / "truth").iterdir()}
    assert (
        truths == {path.stem for path in (folder / "floor").iterdir()} == {"ada-0000", "ada-0001"}
    )


def test_files_are_matched_with_voices_of_the_set_by_name(tmp_path, monkeypatch):
    voice_set = voices.load_voices("espeak")
    monkeypatch.setattr(
        sentence_scoring, "read_voice", lambda path, encoder_set: (np.zeros(256), ())
    )

    def find(*speakers):
        options = SentenceOptions(workdir=tmp_path, speakers=speakers)
        references = sentence_scoring.read_references(options, voice_set, "built-in")
        return [one.speaker and one.speaker.name for one in references]

    for name in ("ada_2.wav", "ben.wav", "stranger_1.wav"):
        (tmp_path / name).touch()
    files = [tmp_path / name for name in ("ada_2.wav", "ben.wav", "stranger_1.wav")]
    assert find(*files) == ["ada", "ben", None]
    assert find() == [voice_set.voices[0].name]
    with pytest.raises(InputError, match="two voices 'ada'"):
        find("ada", tmp_path / "ada.flac")


def test_sentences_come_from_the_package_or_a_file(tmp_path):
    assert sentence_scoring.read_sentences("test") == sentences.list_test_sentences()
    assert len(sentence_scoring.read_sentences("test")) >= 200
    (tmp_path / "lines.txt").write_text("\n")
    with pytest.raises(InputError, match="found no lines"):
        sentence_scoring.read_sentences(str(tmp_path / "lines.txt"))
    with pytest.raises(InputError, match="--sentences"):
        sentence_scoring.read_sentences("none.txt")


def test_sentences_of_a_file_in_the_home_folder_have_no_policy(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "lines.txt"
    path.write_text("One line.\n\N{CYRILLIC SMALL LETTER YA}\n", "utf-8")
    with pytest.raises(InputError, match=r"lines\.txt: sentence 2: .* pronounced in English$"):
        sentence_scoring.read_sentences("~/lines.txt")
    path.write_text("One line.\n")
    assert sentence_scoring.read_sentences("~/lines.txt") == ("One line.",)


def test_a_note_says_what_of_a_sentence_is_not_spoken(tmp_path, capsys):
    path = tmp_path / "lines.txt"
    path.write_text("One line.\nHi \N{GRINNING FACE} there.\n[laughs] Last one.\n", "utf-8")
    assert len(sentence_scoring.read_sentences(str(path))) == 3
    smile, laugh = capsys.readouterr().err.splitlines()
    assert "sentence 2: text: left out" in smile and "GRINNING FACE" in smile
    assert "sentence 3: text: left out '[laughs]'" in laugh


def test_texts_that_the_recognizer_rejects_say_why(tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(asr, "load", lambda spec: Ears())
    (tmp_path / "lines.txt").write_text("Hello you.")
    metrics = evaluate_sentences(
        SentenceOptions(workdir=tiny_run, sentences=str(tmp_path / "lines.txt"), out=tmp_path)
    )
    assert set(metrics["voices"]) == {sentence_scoring.NO_VOICE}
    assert "wer" not in metrics["text"]
    assert "dvector_similarity" not in metrics["text"]
    assert "too few words" in (tmp_path / "examples.csv").read_text()
    assert "note: --recognizer=pocketsphinx: no word errors of 1 of 1" in capsys.readouterr().err


def test_the_command_names_flags_that_do_not_fit(tiny_run, tmp_path):
    for arguments, words in (
        ((f"--workdir={tiny_run}", "--speaker=voice.wav"), ("--speaker", "--sentences")),
        ((f"--workdir={tiny_run}", "--sentences=test", "--shards=x"), ("--shards", "--sentences")),
        (("--sentences=test",), ("--workdir",)),
        (("--workdir=miniav", "--sentences=test"), ("--out",)),
        (
            (f"--workdir={tiny_run}", "--sentences=test", "--scales=smell=2"),
            ("--scales", "smell=2", "phonemes"),
        ),
        (
            (f"--workdir={tiny_run}", "--sentences=none.txt"),
            ("--sentences: none.txt: no such file, expected test or a text file with",),
        ),
        (
            (f"--workdir={tiny_run}", "--sentences=test", "--speaker=none.wav", "--clips=1"),
            ("none.wav",),
        ),
    ):
        done = in_process.run("evaluate", *arguments)
        in_process.assert_error(done, *words, out=tiny_run / "eval" / "sentences")
