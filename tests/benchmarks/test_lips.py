"""Benchmarks of lips: their measures on cases with known answers, and their tables."""

import numpy as np
import pytest
from helpers import fixtures

from benchmarks import lip_alignment, lip_sync
from vssflow_jax import media
from vssflow_jax.corpus import lip_tracks, visemes, voices
from vssflow_jax.data.lip_track import write_lip_track
from vssflow_jax.evaluation.metrics import lip_agreement
from vssflow_jax.features import face_mesh
from vssflow_jax.text import alignment, phonemes
from vssflow_jax.text.durations import DEFAULT_DURATIONS, DurationModel

TEXT = "they found a small boat under the bridge"


def run(module, capsys, *arguments):
    """What a benchmark prints."""
    from absl import flags

    existing = set(flags.FLAGS)
    try:
        module.define_flags()
        flags.FLAGS([module.__name__, *map(str, arguments)])
        module.main()
    finally:
        for name in set(flags.FLAGS) - existing:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
    return capsys.readouterr().out


def test_correlation_is_of_speech_that_opens_with_the_mouth():
    opening = np.abs(np.sin(np.linspace(0, 9, 100))) * np.linspace(0, 1, 100)
    loudness = np.repeat(opening, 640)
    wave = loudness * np.random.default_rng(0).normal(size=len(loudness))
    envelope = lip_agreement.measure_envelope(wave, 16_000, 100)
    as_it_is, backwards, *late = lip_sync.correlate(envelope, opening)
    assert as_it_is > 0.95 and max(backwards, *late) < 0.7


def test_agreements_are_counted():
    rows = [(0.5, 0.1, -0.3, 0.2), (0.9, 0.1, 0.3, 0.0), (0.4, 0.0, 0.0, 0.0)]
    line = lip_sync.count_agreements(rows)
    assert line == "2 of 3 at least 0.5 as it is, 2 at most 0.2 in all other columns"


def test_fitting_sentences_last_as_long_as_the_three():
    durations = DurationModel(DEFAULT_DURATIONS)
    texts = lip_sync.list_fitting_sentences(durations)
    usual = [lip_sync.expect_seconds(text, durations) for text in lip_sync.SENTENCES]
    assert len(texts) > 10 and not set(texts) & set(lip_sync.SENTENCES)
    assert all(
        0.97 * min(usual) <= lip_sync.expect_seconds(text, durations) <= 1.03 * max(usual)
        for text in texts
    )


def test_times_from_lips_have_the_smallest_errors(tmp_path, capsys):
    symbols = [symbol for word in phonemes.pronounce(TEXT.split()) for symbol in word]
    truth = alignment.place_phonemes(symbols, 1.5, 3.4, {})
    look = voices.load_voices("espeak").voices[0].look
    shapes = visemes.trace_mouth(truth, 100, 25.0)
    track = lip_tracks.track_lips(look, shapes, np.random.default_rng(0))
    write_lip_track(tmp_path / "a.safetensors", track)
    alignment.write_alignment(tmp_path / "a.csv", truth)
    media.write_wav(tmp_path / "b.wav", fixtures.make_tone(1.0))
    fixtures.write_video(tmp_path / "a.mp4", 4.0)
    (tmp_path / "clips.csv").write_text(
        "id,video,audio,text,alignment,split,lips\n"
        f"a,a.mp4,,{TEXT},a.csv,test,a.safetensors\n"
        f"b,,b.wav,{TEXT},a.csv,train,\n"
    )
    table = run(lip_alignment, capsys, f"--corpus={tmp_path}")
    rows = [
        line.split("|") for line in table.splitlines() if line.startswith("|") and "lips" in line
    ]
    means = {row[1].strip(): float(row[2]) for row in rows}
    assert means["lips, the corpus' tracks"] < 0.2 * means["no lips: expected durations"]
    assert "1 clips, 0 left out" in table


@pytest.mark.slow
@pytest.mark.skipif(not face_mesh.is_available(), reason="the face finder is not installed")
def test_speech_goes_with_the_mouth_of_a_real_talker(tmp_path, capsys):
    table = run(lip_sync, capsys, f"--out={tmp_path / 'a.png'}")
    rows = [line.split("|")[3:7] for line in table.splitlines() if line.startswith("|")]
    as_it_is, backwards, *late = (float(cell) for cell in rows[-1])
    assert as_it_is > 0.5 and max(backwards, *late) < 0.2
    assert "3 of 3 at least 0.5 as it is" in table
    assert (tmp_path / "a.png").stat().st_size > 10_000
