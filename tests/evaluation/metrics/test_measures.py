"""DeSync, CLAP and LSE as measures of an evaluation, with small random networks."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
from helpers import tiny_encoders, unseen_sizes

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import pipeline, shards
from vssflow_jax.encoders import desync as desync_network
from vssflow_jax.encoders import syncnet
from vssflow_jax.evaluation.metrics import measures
from vssflow_jax.evaluation.metrics.desync import Desync
from vssflow_jax.evaluation.metrics.suite import join_reasons
from vssflow_jax.features import face_mesh
from vssflow_jax.generation.scoring import EvaluationOptions, evaluate
from vssflow_jax.weights.published import EncoderWeights

TOKENS = {"<s>": 0, "<pad>": 1, "</s>": 2, "wood": 3, "water": 4, "drop": 5, "<unk>": 6}
CLAP = dataclasses.replace(tiny_encoders.SMALL["clap"], bands=64)  # those of log_mel


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Small random weights where published ones are looked up, and a tokenizer of a few words."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSSFLOW_WEIGHTS", str(folder))
        for kind in ("desync", "syncnet"):
            tiny_encoders.convert_random(kind, folder)
        tiny_encoders.convert_random("clap", folder, config=CLAP)
        _write_tokenizer(folder / "clap" / "tokenizer.json")
        yield folder


def _write_tokenizer(path):
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(TOKENS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(path))


def make_record(name="a", **fields):
    wave = np.int16(20_000 * unseen_sizes.draw_wave(2.0, 1))
    meta = {"id": name, "task": "sound", "duration": 2.0}
    return {"meta": meta | fields, shards.WAVE: wave}


# ---- DeSync -------------------------------------------------------------------------------


def test_desync_compares_the_first_and_the_last_segments(weights):
    measure = measures.load(["desync"], "published")["desync"]
    count = measure.config.segments
    rng = np.random.default_rng(0)
    wave = unseen_sizes.draw_wave(2.0, 3)
    mels = desync_network.log_mel_segments(wave)
    assert len(mels) > count
    video = rng.normal(size=(8 * len(mels), measure.config.width)).astype(np.float32)
    logits = measure.compute_logits(video, wave)
    model = desync_network.Desync(measure.config)
    params = tiny_encoders.random_params("desync")
    audio = model.apply({"params": params}, mels, method="encode_audio")
    for row, part in ((0, slice(count)), (1, slice(-count, None))):
        features = video.reshape(len(mels), 8, -1)[part][None], audio[part][None]
        expected = model.apply({"params": params}, *features, method="classify")[0]
        np.testing.assert_allclose(logits[row], expected, rtol=1e-4, atol=1e-4)
    (row,) = measure([make_record() | {"sync": video}], [wave], 16_000)
    grid = desync_network.offset_grid()
    assert row == {"desync": pytest.approx(np.abs(grid[logits.argmax(-1)]).mean())}


def test_desync_knows_by_how_much_a_sound_was_moved():
    """A network whose last layer was fitted to one pair, at all shifts and in three noises."""
    config = dataclasses.replace(
        tiny_encoders.SMALL["desync"], segments=desync_network.WINDOW_SEGMENTS
    )
    params = tiny_encoders.random_params("desync", config)
    shifts = np.arange(-5, 6) / 5  # seconds by which the sound comes late
    spans = 8 * config.segments
    video = np.random.default_rng(1).normal(size=(spans, config.width)).astype(np.float32)
    waves = {seed: [move_burst(shift, seed) for shift in shifts] for seed in range(4)}
    hidden = jax.jit(functools.partial(hidden_of_pair, desync_network.Desync(config)))
    mels = [desync_network.log_mel_segments(wave) for seed in range(3) for wave in waves[seed]]
    rows = [hidden(params, video, mel) for mel in mels]
    classes = np.array([np.abs(desync_network.offset_grid() + shift).argmin() for shift in shifts])
    expected = 10 * np.eye(len(desync_network.offset_grid()), dtype=np.float32)[classes]
    kernel = np.linalg.lstsq(np.stack(rows), np.tile(expected, (3, 1)), rcond=None)[0]
    params["head"]["out"] = {"kernel": kernel, "bias": np.zeros(kernel.shape[1], np.float32)}
    weights = EncoderWeights(kind="desync", config=config, params=params, hash="")
    measure = Desync(weights)
    for shift, wave, number in zip(shifts, waves[3], classes, strict=True):
        logits = measure.compute_logits(video, wave)
        np.testing.assert_array_equal(logits.argmax(-1), [number, number])
        (row,) = measure([{"sync": video}], [wave], 16_000)
        assert row["desync"] == pytest.approx(abs(shift))


def move_burst(shift, seed):
    """4.8 s of faint noise with a burst in the middle, moved by `shift` seconds."""
    rng = np.random.default_rng(seed)
    wave = 1e-3 * rng.normal(size=76_800).astype(np.float32)
    start = round(16_000 * (2.4 + shift))
    wave[start : start + 1_600] += 0.5 * np.sin(np.arange(1_600) * 0.4).astype(np.float32)
    return wave


def hidden_of_pair(model, params, video, mels):
    """What the last layer of the network sees of a pair, [D]."""
    audio = model.apply({"params": params}, mels, method="encode_audio")
    video = video.reshape(len(mels), 8, -1)
    _, state = model.apply(
        {"params": params}, video[None], audio[None], method="classify", capture_intermediates=True
    )
    return state["intermediates"]["head"]["norm_out"]["__call__"][0][0, 0]


def test_desync_says_why_a_clip_has_no_score(weights):
    measure = measures.load(["desync"], "sync=published")["desync"]
    short = {"sync": np.zeros((8, measure.config.width))}
    rows = measure(
        [make_record(), make_record() | short], [np.zeros(32_000, np.float32)] * 2, 16_000
    )
    assert [row["unscored"] for row in rows] == [
        "desync: no pictures",
        "desync: shorter than 0.96 s",
    ]


# ---- CLAP ---------------------------------------------------------------------------------


def test_clap_is_the_cosine_with_truth_and_label(weights):
    measure = measures.load(["clap"], "built-in")["clap"]
    record = make_record(annotation={"label": "water_drop"})
    truth = pipeline.read_mono(record)
    other = unseen_sizes.draw_wave(1.3, 5)
    rows = measure([record] * 2, [truth, other], 16_000)
    same, shifted, different = measure.embed_sounds([truth, truth + 0.01, other], 16_000)
    assert np.linalg.norm(same) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(same, shifted, atol=1e-6)  # the mean is removed
    assert np.abs(same - different).max() > 1e-4
    assert rows[0]["clap_audio"] == pytest.approx(1, abs=1e-5)
    assert rows[1]["clap_audio"] == pytest.approx(float(same @ different), abs=1e-6)
    words = measure.embed_sounds([other], 16_000)[0] @ measure._embed_label("water drop")
    assert rows[1]["clap_text"] == pytest.approx(float(words), abs=1e-5)
    (plain,) = measure([make_record("b")], [other], 16_000)
    assert plain.keys() == {"clap_audio"}


def test_a_label_without_a_tokenizer_is_reported(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("VSSFLOW_WEIGHTS", str(tmp_path))
    tiny_encoders.convert_random("clap", tmp_path, config=CLAP)
    measure = measures.load(["clap"], "built-in")["clap"]
    record = make_record(annotation={"sound_class": "wood"})
    (row,) = measure([record], [pipeline.read_mono(record)], 16_000)
    assert "tokenizer.json" in row["unscored"] and "clap_text" not in row


# ---- LSE ----------------------------------------------------------------------------------


@pytest.mark.skipif(not face_mesh.is_available(), reason="the face tracker is not installed")
def test_lse_follows_the_mouth_in_the_video(weights, tiny_run, tmp_path):
    """Of clips with a talker; its pieces agree with a computation window by window."""
    manifest = tiny_run / "corpus" / "clips.csv"
    measure = measures.load(["lse"], "built-in", manifest)["lse"]
    name = next(name for name in measure.videos if name.startswith("speech"))
    meta = {"id": name, "text": "bin", "duration": 2.0}
    wave = unseen_sizes.draw_wave(2.0, 7)
    ((row),) = measure([{"meta": meta}], [wave], 16_000)
    mouth = measure._lip_vectors[name]
    assert mouth.shape == (46, 6)  # 50 pictures
    windows = syncnet.count_windows(50, len(wave))
    mfcc = syncnet.compute_mfcc(media.to_int16(wave))
    sound = jax.jit(
        lambda x: syncnet.Syncnet(tiny_encoders.SMALL["syncnet"]).apply(
            {"params": tiny_encoders.random_params("syncnet")}, x, method="encode_sound"
        )
    )(syncnet.split_sound(mfcc, windows))
    expected = syncnet.score_lip_sync(mouth[:windows], np.asarray(sound))
    assert row["lse_d"] == pytest.approx(expected.distance, rel=1e-4)
    assert row["lse_c"] == pytest.approx(expected.confidence, rel=1e-3)
    # Clips without a text have no score, and clips without a video or a face say so.
    event = next(name for name in measure.videos if name.startswith("sound"))
    records = [
        {"meta": {"id": name, "duration": 2.0}},
        {"meta": meta | {"id": "nobody"}},
        {"meta": meta | {"id": event}},
    ]
    silent, nobody, faceless = measure(records, [wave] * 3, 16_000)
    assert silent == {}
    assert nobody["unscored"] == "lse: the manifest has no video of it"
    assert faceless["unscored"] == "lse: no face"


# ---- evaluation ---------------------------------------------------------------------------


def test_measures_are_columns_with_ceilings(weights, tiny_run, tmp_path):
    folder, generated = tiny_run / "shards", tmp_path / "generated"
    records = shards.open_split(folder, "train", with_wave=True, tasks=("sound",))
    for record in (records[row] for row in range(2)):
        media.write_wav(generated / f"{record['meta']['id']}.wav", pipeline.read_wave(record))
    scores = evaluate(
        EvaluationOptions(
            shards=folder, split="train", generated=generated, clips=2, measures=["clap"]
        )
    )
    assert scores["sound"]["clap_audio"] == pytest.approx(1, abs=1e-3)
    assert scores["sound"]["clap_audio_ceiling"] == pytest.approx(1, abs=1e-5)
    assert scores["run"]["measures"].keys() == {"clap"}
    protocol = json.loads((generated / "eval" / "protocol.json").read_text())
    assert "cosine" in protocol["metrics"]["clap_text"]


def test_measures_that_cannot_be_computed_are_refused(weights, monkeypatch, tmp_path):
    with pytest.raises(InputError, match="--measures: found fad, expected some of"):
        measures.load(["fad"], "built-in")
    with pytest.raises(InputError, match="found desync for shards of the encoders built-in"):
        measures.load(["desync"], "built-in")
    with pytest.raises(InputError, match="--videos: found nothing"):
        measures.load(["lse"], "built-in")
    monkeypatch.setenv("VSSFLOW_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match="encoder clap: found no weights"):
        measures.load(["clap"], "built-in")


def test_reasons_are_joined():
    rows = {"unscored": "wer: letters"}, {"desync": 0.2}, {"unscored": "lse: no face"}
    assert join_reasons(*rows) == {"unscored": "wer: letters; lse: no face"}
    assert join_reasons({}) == {}
